"""Where work is done: processes, threads, device, and how long it may take."""

from typing import Annotated, Literal

from pydantic import Field

from evonas.config.section import Positive, PositiveInt, Section


class ExecutionConfig(Section):
    """``[execution]``: where trainings and measurements are done. Results do not depend on ``workers``."""

    workers: Annotated[int, Field(ge=0)] = 1
    """Processes that work at the same time; results do not depend on how many. 0: none beside the one that was started,
    so that work begins at once, but a job that crashes or hangs ends everything."""
    threads: PositiveInt = 1
    """Threads of torch in each worker."""
    device: str = "auto"
    """Where networks are trained: `auto` (the GPU if there is one), `cpu`, `cuda`, `cuda:0`."""
    timeout_seconds: Positive = 600.0
    """A worker that takes longer over one job is ended, and the job has failed."""


class StudyExecutionConfig(ExecutionConfig):
    """``[execution]`` of a study, which trains networks that are known to train."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Processes that work at the same time; results do not depend on how many. 0: none beside the one that was started,
    so that work begins at once, but a job that crashes or hangs ends everything."""


class SearchExecutionConfig(ExecutionConfig):
    """``[execution]`` of a search: also whether layers are compiled, and a cache.

    Compiled layers round differently, so a search with ``compile = "auto"`` may differ between machines, and
    between two runs on one machine.
    """

    compile: Literal["auto", "always", "never"] = "never"
    """Whether the layers of a candidate go through torch.compile: `never`; `auto`, when its measured step time and the
    steps left make that pay; or `always`."""
    cache: str = ""
    """A file of evaluations that several searches share, so that no layer is trained twice. Empty: none."""
