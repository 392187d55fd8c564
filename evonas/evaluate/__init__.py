"""Judging layers: rejection protocols, training on tasks, and where that runs."""
