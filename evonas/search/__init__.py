"""The evolutionary search: selection by DEAP, variation and the ask-and-tell engine by us, and the loop that drives it."""
