"""What a file of settings may say: strict TOML, read into frozen models."""

from evonas.config.comparison import ComparisonSettings as ComparisonSettings
from evonas.config.comparison import load_comparison as load_comparison
from evonas.config.execution import ExecutionConfig as ExecutionConfig
from evonas.config.execution import SearchExecutionConfig as SearchExecutionConfig
from evonas.config.search import BudgetConfig as BudgetConfig
from evonas.config.search import EvolutionConfig as EvolutionConfig
from evonas.config.search import NumericsConfig as NumericsConfig
from evonas.config.search import ObjectivesConfig as ObjectivesConfig
from evonas.config.search import PropagationConfig as PropagationConfig
from evonas.config.search import ProtocolsConfig as ProtocolsConfig
from evonas.config.search import QualityConfig as QualityConfig
from evonas.config.search import RerankConfig as RerankConfig
from evonas.config.search import RungsConfig as RungsConfig
from evonas.config.search import SearchConfig as SearchConfig
from evonas.config.search import SpaceConfig as SpaceConfig
from evonas.config.search import StabilityConfig as StabilityConfig
from evonas.config.search import load_search as load_search
from evonas.config.search import loads as loads
from evonas.config.task import ARCHITECTURES as ARCHITECTURES
from evonas.config.task import LIBRARIES as LIBRARIES
from evonas.config.task import DataConfig as DataConfig
from evonas.config.task import LayerConfig as LayerConfig
from evonas.config.task import TaskConfig as TaskConfig
from evonas.config.task import TextConfig as TextConfig
from evonas.config.task import TrainingConfig as TrainingConfig
