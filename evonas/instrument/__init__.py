"""Instruments for models that exist already: where their norms and activations are, and their exchange."""
