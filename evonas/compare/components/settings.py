"""What a study of components says: networks, layers in them, components, and how each is measured."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from evonas.config import DataConfig, LayerConfig, StudyExecutionConfig, TaskConfig, TextConfig, TrainingConfig
from evonas.config.section import Count, Label, NotNegative, Positive, PositiveInt, Section, Seed, StudySection

ComponentName = Literal["qk-layernorm", "z-loss", "teal", "wina", "wina, fisher split", "lineas", "mip"]
COMPONENTS: tuple[ComponentName, ...] = (
    "qk-layernorm",
    "z-loss",
    "teal",
    "wina",
    "wina, fisher split",
    "lineas",
    "mip",
)


class NetworkConfig(Section):
    """One of ``[[networks]]``: a network that is trained here with each of its layers, or a pretrained one."""

    name: Label = ""
    """What tables call it. Empty: the name of its task, or of the pretrained model."""
    task: TaskConfig | None = None
    """A network for images, or a transformer, with the keys of `[[tasks]]`."""
    pretrained: str = ""
    """Instead of a task: a language model of transformers, an id of the hub, a folder or a GGUF file."""
    layers: tuple[str, ...] = ()
    """Catalogue names, formulas, text forms, RUN#rank or .json files of the layers that it is trained with. Empty:
    those of the study. A pretrained model keeps its own."""
    training: TrainingConfig = TrainingConfig()
    """How it is trained."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.task is None) == (not self.pretrained):
            raise PydanticCustomError("network", "a task or a pretrained model, one of them")
        if self.task is not None and self.task.kind not in ("classification", "language"):
            raise PydanticCustomError("network", "a network that classifies images, or a transformer")
        return self

    @property
    def label(self) -> str:
        """What tables call it."""
        if self.name:
            return self.name
        return self.task.label if self.task else self.pretrained.rstrip("/").rpartition("/")[2]


class RatesConfig(Section):
    """``[rates]``: qk-layernorm and z-loss are judged over several learning rates."""

    factors: Annotated[tuple[Positive, ...], Field(min_length=2)] = (0.3, 1.0, 3.0, 10.0)
    """The learning rates, as multiples of the network's own."""
    z_loss: Positive = 1e-4
    """Weight of log^2 Z in the loss."""


class MasksConfig(Section):
    """``[masks]``: how much of the inputs of linear layers and 1x1 convolutions is dropped."""

    sparsity: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Share of the inputs that is dropped; the mean over layers where it is split among them."""
    calibration: PositiveInt = 256
    """Images, or windows of text, that a split looks at; all of them are training data."""


class ConceptConfig(Section):
    """``[concept]``: what LinEAS removes: a class of images, or a character of texts."""

    image_class: Count = 3
    """The class, by its number."""
    character: Annotated[str, Field(min_length=1, max_length=1)] = '"'
    """The character. Source windows are those of the third of the text that has most of it, target windows those of the
    third that has least."""
    samples: PositiveInt = 64
    """So many source and as many target samples, drawn from the training data."""
    steps: PositiveInt = 200
    """Steps of LinEAS."""
    learning_rate: Positive = 0.1
    """Learning rate of LinEAS."""
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
    """Strengths at which the steered network is measured."""
    rise: Positive = 0.1
    """Rise of the loss on target samples at which the concept is read: 0.1 is a tenth."""


class HypernetConfig(Section):
    """``[hypernetwork]``: the network's parameters are predicted from the label smoothing of the loss."""

    steps: PositiveInt = 300
    """Training steps."""
    check_every: PositiveInt = 10
    """Steps between two looks at the loss."""
    batch_size: PositiveInt = 32
    """Images, or windows of text, of a step."""
    learning_rates: Annotated[tuple[Positive, ...], Field(min_length=1)] = (3e-4, 1e-3, 3e-3)
    """Learning rates of Adam; each parametrization counts at its best one."""
    hidden: tuple[PositiveInt, ...] = (16, 64)
    """Widths of the hidden layers of the hypernetwork."""
    smoothing: NotNegative = 0.3
    """The label smoothing goes from 0 to this."""


class ComponentsConfig(StudySection):
    """A study file."""

    file_kind: ClassVar[str] = "components"

    networks: Annotated[tuple[NetworkConfig, ...], Field(min_length=1)]
    """The columns of the table, one for each of its layers."""
    layers: tuple[str, ...] = ()
    """Layers for the networks that name none, where their layout fits."""
    components: Annotated[tuple[ComponentName, ...], Field(min_length=1)] = COMPONENTS
    """The rows: `qk-layernorm`, `z-loss`, `teal`, `wina`, `wina, fisher split`, `lineas`, `mip`."""
    data: DataConfig = DataConfig()
    """The images."""
    text: TextConfig = TextConfig()
    """What language models read."""
    layer: LayerConfig = LayerConfig()
    """How layers become modules."""
    rates: RatesConfig = RatesConfig()
    """How qk-layernorm and z-loss are judged."""
    masks: MasksConfig = MasksConfig()
    """How much of the inputs masks drop."""
    concept: ConceptConfig = ConceptConfig()
    """What LinEAS removes."""
    hypernetwork: HypernetConfig = HypernetConfig()
    """What MIP is tried on."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)] = (1, 2, 3)
    """Seeds of weights, batches and samples."""
    execution: StudyExecutionConfig = StudyExecutionConfig()
    """Where the work is done."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [network.label for network in self.networks]
        if len({*names}) < len(names):
            raise PydanticCustomError("networks", "networks of different names")
        return self
