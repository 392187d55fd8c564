"""Where work is done: processes, threads, device, and how long it may take."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from evonas.config.section import Positive, PositiveInt, Section


def _executor(value: str) -> str:
    if not re.fullmatch(r"local|ray|ray:\S+", value):
        raise PydanticCustomError("executor", "local, ray or ray:ADDRESS")
    return value


class RayConfig(Section):
    """``[execution.ray]``: what a job gets of a machine of the cluster, with ``executor = "ray"``."""

    cpus: Annotated[float, Field(ge=0)] = 0.0
    """Processors of a job. 0: as many as `execution.threads`."""
    gpus: Annotated[float, Field(ge=0)] = 0.0
    """GPUs of a job. A fraction such as 0.25 lets four jobs share one."""
    memory_gib: Annotated[float, Field(ge=0)] = 0.0
    """Memory that is set aside for a job, in GiB. 0: none, and a machine may take more jobs than it has memory for."""
    recycle_after: Annotated[int, Field(ge=0)] = 0
    """Jobs after which a worker process is replaced, so that what many compiled layers leave behind goes. 0: never."""


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
    executor: Annotated[str, AfterValidator(_executor)] = "local"
    """Where the workers are: `local`, on this machine; `ray`, in a cluster of Ray that is started on this machine;
    `ray:ADDRESS`, in a cluster that is there, such as `ray:auto`, `ray:10.0.0.1:6379` or `ray:ray://head:10001`."""
    ray: RayConfig = RayConfig()
    """What a job gets of a machine of the cluster."""

    @property
    def on_ray(self) -> bool:
        """Whether workers are those of Ray."""
        return self.executor != "local"

    @property
    def here(self) -> bool:
        """Whether jobs are done in the process that was started."""
        return not self.workers and not self.on_ray

    @property
    def ray_address(self) -> str:
        """Where Ray's cluster is; empty if one is to be started."""
        return self.executor.partition(":")[2]


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
    screeners: Annotated[int, Field(ge=0)] = 0
    """Processes beside the driver that screen proposals ahead of their turn; results do not depend on them. They pay
    where the driver is what many workers wait for; each takes a processor of the driver's machine."""
    boards: tuple[Literal["tensorboard", "trackio", "wandb", "mlflow"], ...] = ("tensorboard",)
    """Where the curves and pictures of a running search are shown: none, one or several. Those beside `tensorboard`
    need the extra of their name, and write to where their own variables say, such as `WANDB_MODE`,
    `MLFLOW_TRACKING_URI` and `TRACKIO_DIR`."""
    cache: str = ""
    """A file of evaluations that several searches share, so that no layer is trained twice. Empty: none."""
