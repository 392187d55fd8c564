"""evonas: evolve normalization-activation layers, and study them across networks.

A layer is a ``Genome``: a small program of primitive tensor operations whose networkx graph is lowered to a torch
module. ``lower`` makes the module, ``replace_norm_act`` puts it into a network, ``Search`` evolves it.
"""

from evonas.errors import InputError as InputError
from evonas.graph.catalogue import CATALOGUE as CATALOGUE
from evonas.graph.genome import Genome as Genome
from evonas.graph.node import Node as Node
from evonas.graph.space import SearchSpace as SearchSpace
from evonas.graph.variation import mutate as mutate
from evonas.instrument.surgery import (
    NormActSite as NormActSite,
)
from evonas.instrument.surgery import (
    norm_act_sites as norm_act_sites,
)
from evonas.instrument.surgery import (
    replace_norm_act as replace_norm_act,
)
from evonas.layer.export import export as export
from evonas.layer.lower import NormActLayer as NormActLayer
from evonas.layer.lower import lower as lower

__version__ = "0.1.0"
