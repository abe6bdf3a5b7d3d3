"""A place to try it all without an account: an embedded Kafka broker and an AEP simulator."""
