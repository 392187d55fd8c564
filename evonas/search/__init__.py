"""Evolutionary search: candidates, what rejects and scores them, selection by DEAP, and what is recorded of them."""
