"""evonas: evolve normalization-activation layers, and study them across networks.

A layer is a ``Genome``: a small program of primitive tensor operations whose networkx graph is lowered to a torch
module. ``lower`` makes the module, ``replace_norm_act`` puts it into a network, ``Search`` evolves it.
"""

from evonas.errors import InputError as InputError
from evonas.extensions import load_extensions as load_extensions
from evonas.graph.catalogue import CATALOGUE as CATALOGUE
from evonas.graph.genome import Genome as Genome
from evonas.graph.node import Node as Node
from evonas.graph.primitive import IndexSet as IndexSet
from evonas.graph.primitive import Primitive as Primitive
from evonas.graph.primitive import PrintedForm as PrintedForm
from evonas.graph.primitive import register_index_set as register_index_set
from evonas.graph.primitive import register_primitive as register_primitive
from evonas.graph.space import SearchSpace as SearchSpace
from evonas.graph.variation import mutate as mutate
from evonas.layer.export import export as export
from evonas.layer.lower import NormActLayer as NormActLayer
from evonas.layer.lower import lower as lower
from evonas.search.archive import Archive as Archive
from evonas.search.engine import Search as Search
from evonas.search.evaluator import Evaluator as Evaluator
from evonas.search.objectives import MeasurementContext as MeasurementContext
from evonas.search.objectives import Objective as Objective
from evonas.search.objectives import register_objective as register_objective
from evonas.search.outcome import Candidate as Candidate
from evonas.search.outcome import Evaluation as Evaluation
from evonas.search.outcome import Rejection as Rejection
from evonas.search.protocols import Protocol as Protocol
from evonas.search.protocols import register_protocol as register_protocol
from evonas.surgery.modules import replace_modules as replace_modules
from evonas.surgery.recalibrate import recalibrate as recalibrate
from evonas.surgery.sites import NormActSite as NormActSite
from evonas.surgery.sites import SurgeryWarning as SurgeryWarning
from evonas.surgery.sites import norm_act_sites as norm_act_sites
from evonas.surgery.sites import replace_norm_act as replace_norm_act
from evonas.tasks.task import Task as Task
from evonas.training.allocator import keep_memory as keep_memory
from evonas.training.fit import StopReason as StopReason
from evonas.training.fit import Trace as Trace
from evonas.training.fit import fit as fit

__version__ = "0.1.0"
