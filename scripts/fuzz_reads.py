"""How each parser of evonas is called with an input, and what must hold of what it accepts."""

import ast
import contextlib
import io
import json
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import fuzz_samples as samples

from evonas import config
from evonas.cli import layers as verbs
from evonas.cli import terminal
from evonas.cli.show import show
from evonas.compare.trials import TrialSpec, evaluation_of
from evonas.config import DataConfig, SearchConfig, section
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.interface.overview import summarize
from evonas.interface.proposals import Door, lines_of, open_door
from evonas.interface.saved_models import load_model
from evonas.interface.state import state_of
from evonas.layer.export import export
from evonas.report.console import PlainConsole
from evonas.report.table import Table
from evonas.runs.folder import RunFolder
from evonas.runs.store import Outcome, Store
from evonas.search import inbox
from evonas.search.cache import EvaluationCache
from evonas.search.named import find_layer
from evonas.search.outcome import Origin
from evonas.search.reranked import reranked
from evonas.studies.sparsity.saving import read_sparsity
from evonas.studies.steering.saving import read_intervention
from evonas.tasks.data import load_arrays
from evonas.tasks.detection.annotations import read_annotations
from evonas.tasks.language.austen import read_austen
from evonas.tasks.language.corpora import read_sentences

Read = Callable[[bytes, Path], object]


Read = Callable[[bytes, Path], object]


def _text(content: bytes) -> str:
    return content.decode("utf-8", "surrogateescape")


def _layer(genome: Genome) -> None:
    """Whatever can be read can be written, and reads back."""
    assert Genome.from_text(genome.to_text()) == genome
    assert Genome.from_json(genome.to_json()) == genome
    assert genome.formula(latex=True).isprintable()
    formula = genome.formula(exact=True)
    with contextlib.suppress(InputError):  # nested too deep to be typed
        assert Genome.from_formula(formula).key == genome.key


def _genome_text(content: bytes, _: Path) -> None:
    _layer(Genome.from_text(_text(content)))


def _formula(content: bytes, _: Path) -> None:
    _layer(Genome.from_formula(_text(content)))


def _genome_json(content: bytes, folder: Path) -> None:
    file = folder / "layer.json"
    file.write_bytes(content)
    _layer(find_layer(str(file)).genome)


def _named(content: bytes, _: Path) -> None:
    with contextlib.chdir(samples.run_folder().parent):
        find_layer(_text(content))


def read_settings(kind: type[section.Section], further: Callable[[Any], object], content: bytes, folder: Path) -> None:
    """A file of settings, which is written and read back, and what is done further with it."""
    file = folder / "settings.toml"
    file.write_bytes(content)
    found = section.load_as(kind, str(file))
    file.write_text(section.dump(found), encoding="utf-8")
    assert section.load_as(kind, str(file)) == found
    further(found)


def _set(content: bytes, _: Path) -> None:
    found = config.load_search(samples.TINY, [_text(content)])
    assert section.parse_section(SearchConfig, section.parse_toml(section.dump(found), ""), "") == found


def _npz(content: bytes, folder: Path) -> None:
    file = folder / "images.npz"
    file.write_bytes(content)
    for test in (False, True):
        load_arrays(DataConfig(name="npz", path=str(file)), test=test)


def _idx(content: bytes, folder: Path) -> None:
    (folder / "train-images-idx3-ubyte").write_bytes(content)
    (folder / "train-labels-idx1-ubyte").write_bytes(samples.IDX_LABELS)
    load_arrays(DataConfig(name="fashion_mnist", path=str(folder)))


def _intervention(content: bytes, folder: Path) -> None:
    head, _, tensors = content.partition(b"\n\n\n")
    (folder / "intervention.json").write_bytes(head)
    (folder / "maps.safetensors").write_bytes(tensors)
    read_intervention(folder)


def _saved_model(content: bytes, folder: Path) -> None:
    head, _, weights = content.partition(b"\n\n\n")
    (folder / "layers.json").write_bytes(head)
    (folder / "model.safetensors").write_bytes(weights)
    load_model(samples.model(), folder)


def _sparsity(content: bytes, folder: Path) -> None:
    (folder / "sparsity.json").write_bytes(content)
    read_sparsity(folder / "sparsity.json")


def _cache(content: bytes, folder: Path) -> None:
    (folder / "cache.sqlite").write_bytes(content)
    cache_ = EvaluationCache(folder / "cache.sqlite")
    try:
        cache_.find(samples.CONTEXT, CATALOGUE["gn-relu"], samples.PRINT)
    finally:
        cache_.close()


def _results(content: bytes, folder: Path) -> None:
    (folder / "results.sqlite").write_bytes(content)
    with Store.open(folder / "results.sqlite") as store:
        store.family(f"{samples.CONTEXT}/{samples.PRINT}")
        store.count()


def _trial(content: bytes, _: Path) -> None:
    spec = TrialSpec.of(_column(), CATALOGUE["gn-relu"], 2)
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return  # Store refuses it
    if isinstance(value, Mapping):
        evaluation_of(spec, Outcome(value, "", 1.0))


@cache
def _column() -> SearchConfig:
    settings = samples.settings()
    return settings.model_copy(update={"tasks": settings.tasks[:1]})


def _overview(content: bytes, folder: Path) -> None:
    """A folder of results in which three files are what was drawn."""
    parts = content.split(b"\n\n\n")
    for name, part in zip(("config.toml", "results.json", "results.sqlite"), parts, strict=False):
        (folder / name).write_bytes(part)
    summary = summarize(folder)
    json.dumps(summary.as_json())


def _archive(content: bytes, folder: Path) -> None:
    run = folder / "run"
    run.mkdir()
    shutil.copy(samples.run_folder() / "config.toml", run)
    (run / "archive.sqlite").write_bytes(content)
    _look_at(run, content)


def _archive_values(content: bytes, folder: Path) -> None:
    """Rows of an archive with other values: each change is a table, a row, a column and what is put there."""
    run = folder / "run"
    run.mkdir()
    shutil.copy(samples.run_folder() / "config.toml", run)
    (run / "archive.sqlite").write_bytes(archive_sample())
    connection = sqlite3.connect(run / "archive.sqlite", isolation_level=None)
    connection.text_factory = bytes
    for table, row, column, value in json.loads(content):
        names = [name.decode() for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]
        with contextlib.suppress(sqlite3.Error, UnicodeError, OverflowError, TypeError):  # what tables refuse
            where = f"rowid = {row}" if table != "screened_out" else f"candidate = {row}"
            if column == "delete":
                connection.execute(f"DELETE FROM {table} WHERE {where}")
            else:
                name = names[int(column) % len(names)]
                connection.execute(f"UPDATE {table} SET {name} = ? WHERE {where}", (value,))
    connection.close()
    _look_at(run, content)


def _look_at(run: Path, content: bytes) -> None:
    """One of the commands that read a run, chosen by the case."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        match zlib.crc32(content) % 5:
            case 0:
                verbs.top(run, 5, pareto=False, rejections=True, every=False, as_json=False)
            case 1:
                verbs.top(run, 5, pareto=True, rejections=False, every=True, as_json=True)
            case 2:
                show(f"{run}#1", as_json=False, png=None, tex=False, quick=True)
            case 3:
                json.dumps(state_of(RunFolder(run), 3))
            case 4:
                json.dumps(summarize(run).as_json())
    _only_letters(out.getvalue())


def _only_letters(printed: str) -> None:
    assert all(character.isprintable() or character == "\n" for character in printed), ascii(printed)


def _reranked(content: bytes, folder: Path) -> None:
    run = folder / "run"
    (run / "best").mkdir(parents=True)
    for name in ("config.toml", "archive.sqlite"):
        shutil.copy(samples.run_folder() / name, run)
    (run / "best" / "rerank.json").write_bytes(content)
    reranked(RunFolder(run))


def _export(content: bytes, folder: Path) -> None:
    """Name, provenance and path of a module; what is written is imports, functions and a class, or nothing is."""
    name, _, rest = _text(content).partition("|")
    provenance, _, path = rest.partition("|")
    inside = folder / "out"
    inside.mkdir()
    try:
        place = inside / (Path(path.replace("/", "_").replace("..", "_")).name or "layer") if "\0" not in path else path
        written = export(CATALOGUE["evonorm-s0"], f"{place}.py", name=name, provenance=provenance)
    except InputError:
        assert not [*inside.iterdir()], "something is left"
        raise
    assert [*inside.iterdir()] == [written]
    text = written.read_text(encoding="utf-8")
    _only_letters(text)
    body = ast.parse(text).body
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
    assert all(isinstance(part, kinds) for part in body[1:-1]), [type(part).__name__ for part in body]
    assert isinstance(body[0], ast.Expr)
    assert isinstance(body[0].value, ast.Constant)
    assert ast.unparse(body[-1]).startswith("getattr(sys.modules.get('timm.layers.create_norm_act')")


def _proposals(content: bytes, _: Path) -> None:
    refused = None
    for _number, said in lines_of(io.StringIO(content.decode("utf-8", "replace"))):
        if isinstance(said, InputError):
            refused = said
            continue
        Origin(said.get("from", "me"), said.get("note", ""))
        _door().genome(said["layer"])
    if refused:
        raise refused


@cache
def _door() -> Door:
    return open_door(RunFolder(samples.run_folder()))


def _inbox(content: bytes, folder: Path) -> None:
    (folder / "a1.json").write_bytes(content)
    inbox.read(folder / "a1.json")


def _coco(content: bytes, folder: Path) -> None:
    (folder / "instances.json").write_bytes(content)
    found = read_annotations(folder / "instances.json")
    assert all(".." not in Path(image.name).parts and not Path(image.name).is_absolute() for image in found.images)


def _sentences(content: bytes, folder: Path) -> None:
    kind, _, rest = content.partition(b"\n")
    file = folder / f"text.{kind.decode('ascii', 'replace').strip() or 'txt'}"
    file.write_bytes(rest)
    read_sentences("file", str(file), text="text", rating="rating")


def _novels(content: bytes, folder: Path) -> None:
    (folder / "Rdata.rdb").write_bytes(content)
    read_austen(folder / "Rdata.rdb")


def _terminal(content: bytes, _: Path) -> None:
    """Names, reasons and formulas in a table: on the terminal, as Markdown, as CSV."""
    parts = [part[:200] for part in _text(content).split("|")]
    rows = [{"layer": part, parts[0] or "a": part, "score": 0.5} for part in parts]
    table = Table.of(rows, title=parts[-1], code=("layer",))
    out = io.StringIO()
    console = PlainConsole(out, width=100)
    console.print(terminal.Printed(table))
    console.print(parts[0], soft_wrap=True)
    _only_letters(out.getvalue())
    table.csv()
    lines = table.markdown().splitlines()
    _only_letters("\n".join(lines))
    assert len(lines) == len(rows) + 2 + 2 * bool(table.title), lines
    assert str(InputError(parts[0], parts[-1])).isprintable()


@cache
def archive_sample() -> bytes:
    """A sound archive."""
    return samples.archive_bytes()


READS: Mapping[str, Read] = {  # by the names of parsers
    "genome-text": _genome_text,
    "formula": _formula,
    "genome-json": _genome_json,
    "layer-name": _named,
    "set": _set,
    "npz": _npz,
    "idx": _idx,
    "intervention": _intervention,
    "saved-model": _saved_model,
    "saved-sparsity": _sparsity,
    "cache": _cache,
    "results": _results,
    "trial": _trial,
    "overview": _overview,
    "archive": _archive,
    "archive-values": _archive_values,
    "reranking": _reranked,
    "export": _export,
    "proposals": _proposals,
    "inbox": _inbox,
    "coco": _coco,
    "sentences": _sentences,
    "novels": _novels,
    "terminal": _terminal,
}
