"""When a candidate's layers are compiled: once, for all its networks, as soon as the steps left make it pay."""

from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self

from torch import nn

from evonas.search.outcome import COMPILED

# measured on CPU with the networks of the search files (scripts/bench_compiling.py): what a compiled layer saves of a
# training step is 15 to 40 %, and compiling takes 2 to 11 s of processor time
SAVED_SHARE, COMPILE_SECONDS = 0.25, 5.0

Mode = Literal["auto", "always", "never"]


class CandidateCompiler:
    """Compiles the layers of one candidate's networks. Use as a context: leaving it frees what was compiled.

    Attributes:
        outcome: not tried (""), ``COMPILED``, or why it failed; layers that failed train without.
    """

    def __init__(self, mode: Mode) -> None:
        self._mode, self._resources = mode, ExitStack()
        self.outcome = ""

    def consider(self, networks: list[nn.Module], *, step_seconds: float, steps_left: int) -> None:
        """Compile now if that pays, unless it was tried before.

        Args:
            networks: all of the candidate's, in training.
            step_seconds: measured duration of one training step of each of them, summed.
            steps_left: steps that each of them still takes.
        """
        if self.outcome or self._mode == "never":
            return
        from evonas.layer.compiling import LayerCompiler, compiling_pays  # slow to import, and most never compile

        costs = {"compile_seconds": COMPILE_SECONDS, "saved_share": SAVED_SHARE}
        if self._mode == "always" or compiling_pays(step_seconds, steps_left, **costs):
            compiler = self._resources.enter_context(LayerCompiler())
            outcomes = [compiler.compile_layers(network) for network in networks]
            self.outcome = next((o.failure for o in outcomes if o.failure), COMPILED)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
