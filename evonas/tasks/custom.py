"""Tasks that users write themselves, named ``package.module:function`` in a search file."""

import inspect
from dataclasses import replace
from functools import cache
from pathlib import Path

import torch

from evonas.config import TaskConfig
from evonas.errors import InputError
from evonas.extensions import import_own
from evonas.tasks.task import Task


def custom_task(section: TaskConfig, batch_size: int, device: torch.device) -> Task:
    """Call the user's function with ``device`` and ``batch_size``; it gives a ``Task``.

    Raises:
        InputError: no such module or function, or what it gives is no task.
    """
    module_name, _, function_name = section.task.partition(":")
    where = f"tasks.task: {section.task}"
    module = import_own(module_name, where)
    function = getattr(module, function_name, None)
    if not callable(function):
        raise InputError(where, f"{module_name} has no function {function_name!r}", accepted=_functions(module))
    task = function(device=device, batch_size=batch_size)
    if not isinstance(task, Task):
        raise InputError(where, f"gives a {type(task).__name__}", accepted="an evonas.Task")
    return replace(task, name=section.label, resized=cache(lambda size: custom_task(section, size, device)))


def source_file(section: TaskConfig) -> Path | None:
    """The file in which a user's task is written, on which its results depend.

    Raises:
        InputError: no such module.
    """
    module = import_own(section.task.partition(":")[0], f"tasks.task: {section.task}")
    name = inspect.getsourcefile(module)
    return Path(name) if name else None


def _functions(module: object) -> str:
    return ", ".join(name for name, value in vars(module).items() if inspect.isfunction(value)) or "none is there"
