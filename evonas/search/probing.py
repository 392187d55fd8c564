"""Probes of proposals, ahead of the time when a search asks for them, in processes beside the driver.

A search draws one candidate after the other, and probes each proposal that passes the screens before it draws on. With
many workers the driver is then what they wait for. What a probe says depends on the layer alone. So proposals that will
come up if nothing passes before them can be probed at the same time, and the search stays the same.
"""

import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Self

import torch

from evonas.config import LayerConfig, ProtocolsConfig, SearchConfig
from evonas.extensions import load_extensions
from evonas.graph.genome import Genome
from evonas.runs.inside import end_with_driver
from evonas.search.outcome import Rejection
from evonas.search.protocols import Screens

Probe = Callable[[Genome], Rejection | None]


class Probes:
    """The probe of a search. Use as a context manager; it starts processes when it is first asked to look ahead.

    Args:
        config: of the search.

    Attributes:
        width: how many proposals are worth being looked at ahead; 0 where there is no process beside this one.
    """

    def __init__(self, config: SearchConfig) -> None:
        self._start = (config.protocols, config.layer, config.extensions)
        self._here = Screens(config.protocols, config.layer).probe
        self._processes = config.execution.screeners
        self._pool: ProcessPoolExecutor | None = None
        self._asked: dict[str, Future[Rejection | None]] = {}
        self.width = 2 * self._processes

    def __call__(self, genome: Genome) -> Rejection | None:
        """Why the probe rejects a layer; None if it does not."""
        asked = self._asked.pop(genome.key, None)
        if asked is None:
            return self._here(genome)
        try:
            return asked.result()
        except BrokenProcessPool:  # its process was killed
            self._asked.clear()
            self._end()
            return self._here(genome)

    def ahead(self, genomes: Iterable[Genome]) -> None:
        """See ``LookAhead``."""
        wanted = {genome.key: genome for genome in genomes}
        for key in self._asked.keys() - wanted.keys():
            self._asked.pop(key).cancel()
        if self._pool is None:
            context = get_context("spawn")  # torch's threads do not survive a fork
            self._pool = ProcessPoolExecutor(self._processes, context, _begin, self._start)
        for key, genome in wanted.items():
            if key not in self._asked:
                self._asked[key] = self._pool.submit(_probe, genome)

    def _end(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()


_probe_here: Probe | None = None  # of a process beside the driver


def _begin(protocols: ProtocolsConfig, layer: LayerConfig, extensions: tuple[str, ...]) -> None:
    global _probe_here
    threading.Thread(target=end_with_driver, args=(os.getppid(),), daemon=True).start()
    torch.set_num_threads(1)
    load_extensions(extensions)
    _probe_here = Screens(protocols, layer).probe


def _probe(genome: Genome) -> Rejection | None:
    assert _probe_here is not None, "the process has begun"
    return _probe_here(genome)
