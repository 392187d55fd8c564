"""Layers side by side: over architectures, data, batch sizes and seeds, with what they cost."""
