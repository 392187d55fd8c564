"""The layer as a graph: primitives, genome, search space, variation and the catalogue of known layers."""
