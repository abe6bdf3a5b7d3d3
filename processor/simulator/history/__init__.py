"""A realistic scoring history: customers, their experience events, and their Customer AI scores.

Pure and seeded: the same settings give the same bytes.
"""
