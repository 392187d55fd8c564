"""Evolutionary search: selection by DEAP; the ask-and-tell engine and the loop that drives it are ours."""
