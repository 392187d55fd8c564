"""Components of networks, such as a sparsity mask or a z-loss, and what each does to networks of several kinds."""
