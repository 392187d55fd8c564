"""What `import evonas` gives; every name is imported from its module when it is first used."""

from . import config as config
from .errors import InputError as InputError
from .extensions import load_extensions as load_extensions
from .graph.catalogue import CATALOGUE as CATALOGUE
from .graph.genome import Genome as Genome
from .graph.node import Node as Node
from .graph.primitive import IndexSet as IndexSet
from .graph.primitive import Primitive as Primitive
from .graph.primitive import PrintedForm as PrintedForm
from .graph.primitive import register_index_set as register_index_set
from .graph.primitive import register_primitive as register_primitive
from .graph.space import SearchSpace as SearchSpace
from .graph.variation import mutate as mutate
from .interface.layers import create_layer as create_layer
from .interface.layers import norm_act as norm_act
from .interface.layers import replace_norm_act as replace_norm_act
from .interface.runs import Run as Run
from .interface.runs import open_run as open_run
from .interface.runs import run_search as run_search
from .layer.export import export as export
from .layer.lower import NormActLayer as NormActLayer
from .layer.lower import lower as lower
from .search.archive import Archive as Archive
from .search.engine import Search as Search
from .search.evaluator import Evaluator as Evaluator
from .search.objectives import MeasurementContext as MeasurementContext
from .search.objectives import Objective as Objective
from .search.objectives import register_objective as register_objective
from .search.outcome import Candidate as Candidate
from .search.outcome import Evaluation as Evaluation
from .search.outcome import Rejection as Rejection
from .search.protocols import Protocol as Protocol
from .search.protocols import Screens as Screens
from .search.protocols import register_protocol as register_protocol
from .surgery.modules import replace_modules as replace_modules
from .surgery.recalibrate import recalibrate as recalibrate
from .surgery.sites import NormActSite as NormActSite
from .surgery.sites import SurgeryWarning as SurgeryWarning
from .surgery.sites import norm_act_sites as norm_act_sites
from .tasks.task import Task as Task
from .training.allocator import keep_memory as keep_memory
from .training.fit import StopReason as StopReason
from .training.fit import Trace as Trace
from .training.fit import fit as fit

__version__: str
