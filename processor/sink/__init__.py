"""The right door: the AEP streaming inlet, its requests, verdicts, tokens and budgets."""
