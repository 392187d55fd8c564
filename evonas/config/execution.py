"""Where work is done: processes, threads, device, and how long it may take."""

from typing import Literal

from evonas.config.section import Positive, PositiveInt, Section


class ExecutionConfig(Section):
    """``[execution]``: where trainings and measurements are done. Results do not depend on ``workers``."""

    workers: PositiveInt = 1
    threads: PositiveInt = 1
    device: str = "auto"
    timeout_seconds: Positive = 600.0


class SearchExecutionConfig(ExecutionConfig):
    """``[execution]`` of a search: also whether layers are compiled, and a ``cache`` of evaluations that runs share.

    With ``compile = "auto"`` a candidate's layers are compiled once its measured step time and the steps left make it
    pay. Compiled layers round differently, so a search with ``compile = "auto"`` may differ between machines, and
    between two runs on one machine.
    """

    compile: Literal["auto", "always", "never"] = "never"
    cache: str = ""
