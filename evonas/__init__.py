"""evonas: evolve normalization-activation layers, and study them across networks.

A layer is a ``Genome``: a small program of primitive tensor operations whose networkx graph is lowered to a torch
module. ``lower`` makes the module, ``replace_norm_act`` puts it into a network, ``Search`` evolves it.
"""

import lazy_loader

# the names and where they come from are listed in __init__.pyi; none is imported before it is used
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = "0.1.0"
