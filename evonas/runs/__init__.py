"""A job, wherever it runs, and what is kept of it."""
