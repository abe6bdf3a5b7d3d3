"""A believable scoring history: customers, what they did, and how Customer AI scored them for it.

Pure and seeded: the same figures give the same bytes.
"""
