"""What the documents say against what is there.

Oracles: the files, typer's commands with their options, the modules that are imported, and the headings of the pages,
by the rule by which GitHub makes anchors of them. ``tests/scripts/test_run_docs.py`` runs the blocks.
"""

import ast
import importlib
import inspect
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import typer
from markdown_it import MarkdownIt

from evonas.cli import app

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import run_docs

ROOT = run_docs.ROOT
DOCUMENTS = run_docs.documents()
EXAMPLES = {
    "layer.py",
    "my_layer.py",
    "my_package/tasks.py",
    "my_extension.py",
    "test_my_extension.py",
    "proposer.py",
    "tanh.py",
}  # files of a user
GROUP: Any = typer.main.get_command(app)
API = {path.stem: path.read_text() for path in (ROOT / "docs" / "api").glob("*.rst")}
EVERYWHERE = {"--help", *(option for each in GROUP.params for option in each.opts)}
each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))


def read(document: Path) -> list[run_docs.Block]:
    return list(run_docs.blocks(document.read_text(encoding="utf-8")))


@each_document
def test_every_module_that_a_document_names_is_there(document: Path) -> None:
    named = set(re.findall(r"[\w./-]+\.py\b", document.read_text())) - EXAMPLES
    folders = (ROOT, ROOT / "evonas", document.parent, ROOT / "tests")
    missing = [name for name in named if not any((folder / name).is_file() for folder in folders)]
    assert missing == []


@each_document
def test_every_block_can_be_read_also_those_that_are_not_run(document: Path) -> None:
    assert {block.line: why for block in read(document) if (why := run_docs.syntax_error(block))} == {}


@each_document
def test_a_block_that_is_not_run_says_why_or_only_shows_something(document: Path) -> None:
    for block in read(document):
        assert block.kind in (*run_docs.RUN, "text")
        if block.kind == "text":
            assert [line for line in block.text.splitlines() if re.match(r"(\$ |evonas |python |pip )", line)] == []


def commands(document: Path) -> Iterator[list[str]]:
    """The calls of evonas in blocks and in running text, as words."""
    texts = [block.text.replace("\\\n", " ") for block in read(document) if block.kind == "sh"]
    for token in MarkdownIt().enable("table").parse(document.read_text(encoding="utf-8")):
        texts += (child.content for child in token.children or () if child.type == "code_inline")
    for line in "\n".join(texts).splitlines():
        for call in re.findall(r"(?:^|[|;&(] *|until |-- )(evonas [^|;&]*)", line):
            with_quotes = shlex.shlex(call, posix=True, punctuation_chars=False)
            with_quotes.whitespace_split, with_quotes.commenters = True, "#"
            try:
                yield list(with_quotes)
            except ValueError:  # a quote that the pattern above has cut off
                yield call.split()


@each_document
def test_every_command_in_a_document_exists_with_its_options(document: Path) -> None:
    for _, *words in commands(document):
        while words and words[0] in EVERYWHERE:  # options before the verb
            words = words[2 if words[0] == "--extension" else 1 :]
        if not words or not re.fullmatch("[a-z]+", words[0]):  # `evonas COMMAND`
            continue
        verb, *rest = words
        assert verb in GROUP.commands, words
        known = {option for each in GROUP.commands[verb].params for option in (*each.opts, *each.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given - known - EVERYWHERE == set(), words


@each_document
def test_every_name_that_a_document_imports_from_evonas_is_there(document: Path) -> None:
    for block in read(document):
        if block.kind == "python":
            for node in ast.walk(ast.parse(block.text)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "evonas":
                    module = importlib.import_module(node.module or "")
                    for name in node.names:
                        assert hasattr(module, name.name) or find_spec(f"{node.module}.{name.name}"), name.name


def anchors(document: Path) -> set[str]:
    """The anchors of the headings of a page: lower case, blanks to hyphens, without other signs, repeats numbered."""
    seen: Counter[str] = Counter()
    found = set()
    tokens = MarkdownIt().parse(document.read_text(encoding="utf-8"))
    for heading, text in pairwise(tokens):
        if heading.type == "heading_open":
            plain = "".join(child.content for child in text.children or ())
            slug = re.sub(r"[^\w -]", "", plain.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


@each_document
def test_every_anchor_that_a_document_links_to_is_there(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s#]*)#([^)\s]+)\)", document.read_text(encoding="utf-8"))
    places = [(document.parent / file if file else document, anchor) for file, anchor in links if "://" not in file]
    assert [(file.name, anchor) for file, anchor in places if anchor not in anchors(file)] == []


def test_the_api_reference_has_every_module_that_users_import() -> None:
    # those directly in the package that give names of others, and the checks of extensions
    texts = {path.stem: path.read_text() for path in (ROOT / "evonas").glob("*.py")}
    lists = {f"evonas.{name}" for name, text in texts.items() if re.search(r"^from \S+ import \w+ as", text, re.M)}
    modules = {"evonas", "evonas.config", "evonas.testing"} | lists
    assert {name for text in API.values() for name in re.findall(r"automodule:: (\S+)", text)} == modules


@pytest.mark.parametrize("page", sorted(set(API) - {"config"}))
def test_the_api_reference_shows_every_public_name(page: str) -> None:
    (name,) = re.findall(r"automodule:: (\S+)", API[page])
    module = importlib.import_module(name)
    public = [each for each in dir(module) if not each.startswith("_") and not inspect.ismodule(getattr(module, each))]
    written = re.findall(rf"py:data:: {name}\.(\w+)", API[page])
    for each in public:
        thing = getattr(module, each)
        shown = (inspect.isclass(thing) or inspect.isfunction(thing)) and inspect.getdoc(thing)
        assert bool(shown) != (each in written), each


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (ROOT / "docs" / "index.rst").read_text()
    pages = [path for path in (ROOT / "docs").rglob("*") if path.suffix in {".md", ".rst"} and path.stem != "index"]
    assert len(pages) > 30
    names = (path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in pages)
    assert [name for name in names if not re.search(rf"^   {name}$", contents, re.M)] == []
