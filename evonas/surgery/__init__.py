"""Where the normalizations and activations of a network are, and their exchange."""
