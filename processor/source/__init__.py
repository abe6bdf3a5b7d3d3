"""The left door: Kafka in. Consumer, assignment, commit, and keeping scores in step."""
