"""A guide of the search: learns from results which of many proposals to train."""
