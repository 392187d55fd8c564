"""Where work is done: processes, threads, device, and how long it may take."""

from typing import Literal

from evonas.config.section import Positive, PositiveInt, Section


class ExecutionConfig(Section):
    """``[execution]``: where candidates are evaluated. Results do not depend on ``workers``.

    ``compile``: auto compiles a candidate's layers once its measured step time and the steps left make it pay. Compiled
    layers round differently, so a search that compiles X
    """

    workers: PositiveInt = 1
    threads: PositiveInt = 1
    device: str = "auto"
    timeout_seconds: Positive = 600.0
    compile: Literal["auto", "always", "never"] = "auto"
    cache: str = ""
