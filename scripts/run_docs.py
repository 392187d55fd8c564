"""Run every command and code block of the README and the docs in a fresh clone, and say which ones work.

The blocks of a document run in order in one clone, so that a later block may use what an earlier one wrote.

- ``sh``: by bash, with the commands of the current environment first on the path.
- ``python``: in one interpreter per document; names of earlier blocks are known.
- ``toml``, ``json``: is parsed.
- ``text``: shows something; no command stands in it.
- A block whose first line is ``# NAME.py`` or ``# NAME.toml`` is written to that file, after those of the same name.

``<!-- needs: WHAT -->`` on the line before a block skips it, and WHAT is the reason, such as a download. What needs
``N minutes`` runs with ``--long``.

    python scripts/run_docs.py                        # all; the exit status is 1 if a block fails
    python scripts/run_docs.py README.md docs/surgery.md
    python scripts/run_docs.py --list                 # runs nothing: which blocks are not run, and why

The records in ``runs/kept`` are no pages: their commands are those that made them, and many take hours.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
LONGEST = 1500  # seconds for one block
RUN = ("sh", "python", "toml", "json")  # kinds of blocks
NEEDS = re.compile(r"<!-- needs: (.+?) -->\s*")
MINUTES = re.compile(r"\d+ minutes")
NAMED = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
# executes blocks that come as lines of JSON, and answers each with a line of JSON
INTERPRETER = """
import json, sys, traceback
answers, sys.stdout = sys.stdout, sys.stderr
space = {"__name__": "__main__"}
for line in sys.stdin:
    try:
        exec(compile(json.loads(line), "block", "exec"), space)
        answer = ""
    except BaseException:
        answer = traceback.format_exc()
    print(json.dumps(answer), file=answers, flush=True)
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a document.

    Attributes:
        line: where it begins, from 1.
        kind: the language that the fence names.
        text: what stands in it.
        needs: why it cannot run from a fresh clone; empty if it can.
    """

    line: int
    kind: str
    text: str
    needs: str = ""


def blocks(markdown: str) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    needs = ""
    for token in MarkdownIt().parse(markdown):
        if token.type == "html_block":
            found = NEEDS.fullmatch(token.content)
            needs = found[1] if found else ""
        elif token.type == "fence" and token.map is not None:
            yield Block(token.map[0] + 1, token.info.strip(), token.content, needs)
            needs = ""
        else:
            needs = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a block: ``passed``, ``failed`` or ``skipped``, and why."""

    document: str
    block: Block
    state: str
    why: str = ""
    seconds: float = 0.0


def not_run(block: Block, *, long: bool) -> str:
    """Why a block is not run; empty if it is."""
    if block.kind not in RUN:
        return f"{block.kind or 'plain text'} is not run"
    if block.needs and not (long and MINUTES.fullmatch(block.needs)):
        return f"needs {block.needs}"
    return ""


class Session:
    """One document's clone and interpreter."""

    def __init__(self, document: Path, clone: Path, *, long: bool) -> None:
        self._document, self._clone, self._long = document, clone, long
        self._written: set[Path] = set()
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(clone), "HF_HUB_OFFLINE": "1"}
        self._python: subprocess.Popen[str] | None = None

    def run(self, block: Block) -> Outcome:
        """Run a block, or say why not."""
        name, started = str(self._document.relative_to(ROOT)), time.monotonic()
        if why := not_run(block, long=self._long):
            return Outcome(name, block, "skipped", why)
        why = self._error(block)
        return Outcome(name, block, "failed" if why else "passed", why, time.monotonic() - started)

    def close(self) -> None:
        """End the interpreter."""
        if self._python is not None:
            self._python.kill()
            self._python.communicate()  # waits, and closes the pipes

    def _error(self, block: Block) -> str:
        if named := NAMED.match(block.text):
            path = self._clone / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if path in self._written else "w", encoding="utf-8") as file:
                file.write(block.text)
            self._written.add(path)
        if named or block.kind in ("toml", "json"):
            return syntax_error(block)
        return self._shell_error(block.text) if block.kind == "sh" else self._python_error(block.text)

    def _shell_error(self, text: str) -> str:
        command = ["timeout", str(LONGEST), "bash", "-euo", "pipefail", "-c", text]
        ran = subprocess.run(
            command,
            cwd=self._clone,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return "" if ran.returncode == 0 else f"exit status {ran.returncode}\n{ran.stdout}"

    def _python_error(self, text: str) -> str:
        if self._python is None:
            self._python = subprocess.Popen(
                [sys.executable, "-c", INTERPRETER],
                cwd=self._clone,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        return _asked(self._python.stdin, self._python.stdout, text)


def _asked(questions: IO[str] | None, answers: IO[str] | None, text: str) -> str:
    assert questions is not None
    assert answers is not None
    print(json.dumps(text), file=questions, flush=True)
    answer = answers.readline()
    return json.loads(answer) if answer else "the interpreter ended"


def syntax_error(block: Block) -> str:
    """What is wrong with a block that can be seen without running it; empty if nothing."""
    try:
        if block.kind == "toml":
            tomllib.loads(block.text)
        elif block.kind == "json":
            json.loads(block.text)
        elif block.kind == "python":
            compile(block.text, "block", "exec")
    except ValueError as error:  # of TOML and JSON
        return str(error)
    except SyntaxError as error:
        return str(error)
    if block.kind != "sh":
        return ""
    return subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False).stderr


def documents() -> list[Path]:
    """The pages: those at the top, the docs, and what packages, tests and runs say of themselves."""
    top = ("README.md", "RESULTS.md", "CONTRIBUTING.md", "tests/README.md", "runs/README.md")
    return [
        *(ROOT / name for name in top),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "evonas").rglob("README.md")),
    ]


def run_document(document: Path, *, long: bool) -> Iterator[Outcome]:
    """Run the blocks of one document in a clone of its own."""
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder) / "evonas"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        session = Session(document, clone, long=long)
        try:
            for block in blocks(document.read_text(encoding="utf-8")):
                yield session.run(block)
        finally:
            session.close()


def main() -> None:
    """Run the documents that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("documents", nargs="*", type=Path, help="default: the README and all docs")
    parser.add_argument("--long", action="store_true", help="also blocks that need minutes")
    parser.add_argument("--list", action="store_true", help="run nothing; list the blocks that are not run")
    options, failed = parser.parse_args(), 0
    if options.list:
        for document in options.documents or documents():
            for block in blocks(document.read_text(encoding="utf-8")):
                if why := not_run(block, long=options.long):
                    print(f"{document.resolve().relative_to(ROOT)}:{block.line}  {why}")
        return
    for document in options.documents or documents():
        for outcome in run_document(document.resolve(), long=options.long):
            block = outcome.block
            place = f"{outcome.document}:{block.line}"
            print(f"{outcome.state:<8}{place:<32}{block.kind:<8}{outcome.seconds:6.1f} s  {outcome.why}", flush=True)
            failed += outcome.state == "failed"
    if failed:
        raise SystemExit(f"{failed} blocks failed")


if __name__ == "__main__":
    main()
