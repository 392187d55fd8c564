"""Workers of a Ray cluster of two nodes on this machine. Oracles: accidents made on purpose, a node that is taken away,
and the archive that the same search writes in this process.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from evonas import config
from evonas.config import DataConfig, ExecutionConfig
from evonas.errors import InputError
from evonas.runs.pool import Failure, open_pool
from evonas.runs.shipping import localized, ship
from evonas.search.archive import Archive
from evonas.search.driver import drive
from evonas.search.execution import make_executor

ray = pytest.importorskip("ray", reason="pip install 'evonas[ray]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore"),  # Ray leaves sockets and files to the garbage collector
]
TINY = Path("search_spaces/tiny.toml")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two nodes of one processor each, beside a head without any."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["PYTHONPATH"] = os.pathsep.join([os.getcwd(), str(Path(__file__).parent), *sys.path])
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made.nodes = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    ray.shutdown()
    made.shutdown()


def commands(folder: Path) -> Callable[[str], str]:
    """What does jobs that are accidents."""

    def obey(job: str) -> str:
        with (folder / job).open("a") as file:
            file.write(".")
        first = (folder / job).read_text() == "."
        if job == "die" or (job == "die once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "hang":
            time.sleep(3600.0)
        if job == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if job == "exit":
            sys.exit(0)
        if job == "mistake":
            raise InputError("data.path", "was deleted")
        if job == "wait" and first:
            (folder / "node").write_text(ray.get_runtime_context().get_node_id())
            time.sleep(3600.0)
        return f"{job} done"

    return obey


def execution(cluster: Any, **settings: Any) -> ExecutionConfig:
    return ExecutionConfig(executor=f"ray:{cluster.address}", **settings)


@pytest.fixture(scope="module")
def accidents(cluster: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each accident ended in."""
    folder = tmp_path_factory.mktemp("accidents")
    with open_pool(commands, folder, execution(cluster, timeout_seconds=3.0), 2) as pool:
        found: dict[str, Any] = dict(pool.unordered(["die", "die once", "exit", "hang", "stop", "reply"]))
        with pytest.raises(InputError, match=r"^data\.path: was deleted"):
            pool.submit("mistake")()
        found["after all that"] = pool.submit("reply")()
    return found | {f"tries to {job}": len((folder / job).read_text()) for job in ("die", "hang")}


def test_a_job_that_kills_its_worker_is_tried_twice_and_costs_nothing_but_itself(accidents: dict[str, Any]) -> None:
    assert accidents["die"] == Failure("worker died", "WorkerCrashedError")
    assert accidents["tries to die"] == 2
    assert accidents["die once"] == "die once done"
    assert accidents["reply"] == accidents["after all that"] == "reply done"


def test_an_error_of_any_kind_is_a_failure_in_words(accidents: dict[str, Any]) -> None:
    assert accidents["exit"] == Failure("error", "SystemExit: 0")


def test_the_driver_ends_a_job_that_takes_too_long(accidents: dict[str, Any]) -> None:
    assert accidents["hang"] == accidents["stop"] == Failure("took too long", limit=3.0)
    assert accidents["tries to hang"] == 2


def archive_of(path: Path, *overrides: str) -> dict[str, list[tuple[Any, ...]]]:
    settings = config.load_search(TINY, overrides)
    with Archive.create(path) as archive:
        with make_executor(settings) as executor:
            drive(settings, archive, executor, [])
        return archive.content()


def test_a_search_on_two_nodes_writes_the_archive_of_one_in_this_process(cluster: Any, tmp_path: Path) -> None:
    pytest.importorskip("torchvision", reason="pip install 'evonas[vision]'")
    here = archive_of(tmp_path / "here.sqlite")
    assert archive_of(tmp_path / "ray.sqlite", f"execution.executor=ray:{cluster.address}") == here


def test_a_job_whose_node_goes_away_is_done_on_another_one(cluster: Any, tmp_path: Path) -> None:
    with open_pool(commands, tmp_path, execution(cluster), 2) as pool:
        pending = pool.submit("wait")
        while not (tmp_path / "node").exists() or not (name := (tmp_path / "node").read_text()):
            time.sleep(0.05)
        (node,) = [node for node in cluster.nodes if node.node_id == name]
        cluster.remove_node(node, allow_graceful=False)
        assert pending() == "wait done"
        assert (tmp_path / "wait").read_text() == ".."


def test_files_travel_to_machines_that_do_not_have_them(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray.init(address=cluster.address, ignore_reinit_error=True)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = tmp_path / "images.npz"
    file.write_bytes(b"images")
    settings = config.load_search(TINY).model_copy(update={"data": DataConfig(name="npz", path=str(file))})
    files = ship(ray, settings, {})
    assert localized(settings, files) is settings
    file.unlink()
    found = localized(settings, files)
    assert Path(found.data.path).read_bytes() == b"images"
    assert found.model_copy(update={"data": settings.data}) == settings


def test_a_cluster_that_does_not_answer_is_said_in_one_line() -> None:
    ray.shutdown()
    with pytest.raises(InputError, match=r"^execution\.executor: no cluster at 127\.0\.0\.1:1 .*ray start --head"):
        open_pool(commands, Path(), ExecutionConfig(executor="ray:127.0.0.1:1"), 1)
