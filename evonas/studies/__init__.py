"""Studies of models with the methods of four papers: stability, hypernetworks, sparsity, steering."""
