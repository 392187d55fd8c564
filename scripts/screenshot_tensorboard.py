"""Check that a log directory has something to show in TensorBoard, and take pictures of what it shows.

    python scripts/screenshot_tensorboard.py --logdir runs/demo --out docs/pictures

Starts a TensorBoard of its own, asks it how many tags it has, photographs three tabs with headless Chromium (CUSTOM
SCALARS, IMAGES and HPARAMS, each where there is something in it) and stops it again. Exit status: 0 if scalars, images
and texts are there and no picture is blank, 1 if not, 2 if Chromium is missing or TensorBoard does not start.
"""

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from PIL import Image

REQUIRED = ("scalars", "images", "text")
SCREENS = ("custom_scalars", "images", "hparams")  # what is photographed: charts, pictures, candidates

START_SECONDS = 60.0
LOAD_SECONDS = 30.0  # by default; TensorBoard reads the event files while it already answers
SHOT_SECONDS = 60.0  # now and then a headless Chromium hangs; another attempt does not
VIRTUAL_MS = 20_000  # the time the page believes it had; costs about 4 s
ATTEMPTS = 4
BLANK_BYTES = 30_000  # a blank window or an error page compresses to less

WIDTH, HEIGHT = 1600, 1200
UNPAINTED = 140  # a window's lowest pixels, as many as a title bar has, sometimes stay empty: they are cut off

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-3d-apis",  # else the time series are drawn with WebGL, and their lines are missing from the picture
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--hide-scrollbars",
    f"--window-size={WIDTH},{HEIGHT + UNPAINTED}",
    f"--virtual-time-budget={VIRTUAL_MS}",
)

_LOCAL = build_opener(ProxyHandler({}))  # a proxy from the environment could not reach this machine's localhost


class SetupError(Exception):
    """The script cannot do its work; the message says what to do about it."""


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logdir", required=True, help="what to give to TensorBoard")
    parser.add_argument(
        "--out", required=True, type=Path, help="folder for the pictures, one for each of the three tabs"
    )
    parser.add_argument("--patience", type=float, default=LOAD_SECONDS, help="seconds to wait for tags; default: 30")
    parser.add_argument("--port", type=int, default=0, help="0, the default, takes a free one")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that TensorBoard is stopped then, too
    try:
        problems = check(arguments.logdir, arguments.out, arguments.port, arguments.patience)
    except SetupError as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 2
    for problem in problems:
        print(f"FAILED: {problem}", file=sys.stderr)
    return 1 if problems else 0


def check(logdir: str, out: Path, port: int, patience: float) -> list[str]:
    """Print a line per tab, write the pictures, and return what is wrong."""
    browser = find_chromium()
    if not Path(logdir).is_dir():
        raise SetupError(f"no folder {logdir}")
    out.mkdir(parents=True, exist_ok=True)
    problems = []
    with tensorboard(logdir, port or free_port()) as address:
        counts = loaded_counts(address, patience)
        for tab, count in counts.items():
            print(f"{tab:<16}{count:>4} tags", flush=True)
        problems += [f"{tab}: no tags in {logdir}" for tab, count in counts.items() if not count]
        listed = fetch(address, "plugins_listing")
        for tab in (tab for tab in SCREENS if listed[tab]["enabled"]):
            path = out / f"{tab}.png"
            size = photograph(browser, f"{address}/#{tab}", path)
            print(f"{tab:<16}{path} ({size / 1000:.0f} kB)", flush=True)
            if size < BLANK_BYTES:
                problems.append(f"{tab}: {path} is blank or missing ({size} bytes)")
    return problems


def find_chromium() -> str:
    """Path of a Chromium."""
    for name in CHROMIUM_NAMES:
        if path := shutil.which(name):
            return path
    raise SetupError(f"none of {', '.join(CHROMIUM_NAMES)} found; install one: apt-get install chromium")


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def tensorboard(logdir: str, port: int) -> Iterator[str]:
    """Address of a TensorBoard that answers; it is stopped on the way out, whatever happens."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--host", "localhost", "--port", str(port)]
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            address = f"http://localhost:{port}"
            if not answers(address, process):
                log.seek(0)
                raise SetupError(f"TensorBoard does not answer at {address}:\n{log.read()[-2000:]}")
            yield address
        finally:
            stop(process)


def answers(address: str, process: subprocess.Popen[bytes]) -> bool:
    """Wait for an answer; False if the process ends or the time is up."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            fetch(address, "plugins_listing")
            return True
        except (URLError, OSError):
            time.sleep(0.3)
    return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end, then make it."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def fetch(address: str, path: str) -> Any:
    """What TensorBoard's data API says."""
    with _LOCAL.open(f"{address}/data/{path}", timeout=10) as answer:
        return json.load(answer)


def loaded_counts(address: str, patience: float) -> dict[str, int]:
    """Tags per tab, once no more are coming."""
    deadline = time.monotonic() + patience
    counts: dict[str, int] = {}
    while time.monotonic() < deadline:
        before, counts = counts, tag_counts(address)
        if counts == before and all(counts[tab] for tab in REQUIRED):
            break
        time.sleep(1.0)
    return counts


def tag_counts(address: str) -> dict[str, int]:
    """Tags per tab, summed over runs."""
    return {tab: _count(fetch(address, f"plugin/{tab}/tags")) for tab in REQUIRED}


def _count(tags_by_run: dict[str, Any]) -> int:
    return sum(len(tags) for tags in tags_by_run.values())


def photograph(browser: str, address: str, path: Path) -> int:
    """Write a picture of a page and return its size in bytes.

    Some charts or images may still be missing from a picture, and which ones changes from one to the next. So the
    page counts as loaded once a picture has been the same twice.
    """
    seen: set[bytes] = set()
    content = b""
    for _ in range(ATTEMPTS):
        path.unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as profile:
            run_browser(
                [browser, *CHROMIUM_FLAGS, f"--user-data-dir={profile}", f"--screenshot={path.resolve()}", address]
            )
        crop(path)
        content = path.read_bytes() if path.exists() else b""
        if len(content) >= BLANK_BYTES and content in seen:
            break
        seen.add(content)
    return len(content)


def crop(path: Path) -> None:
    """Cut the unreliable part off a picture, if there is one."""
    if path.exists():
        with Image.open(path) as picture:
            whole = picture.convert("RGB")
        whole.crop((0, 0, WIDTH, HEIGHT)).save(path, optimize=True)


def run_browser(command: list[str]) -> None:
    """Let Chromium run until it is done or its time is up; its helper processes end with it."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        process.wait(SHOT_SECONDS)
    except subprocess.TimeoutExpired:
        pass  # photograph sees that there is no picture
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
