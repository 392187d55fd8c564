"""Every kind of bad input is one line, exit status 2, and nothing is written."""

from collections.abc import Callable
from pathlib import Path

import pytest

from studies import assert_one_line

ROOT = Path(__file__).parents[2]


TINY = str(ROOT / "search_spaces" / "tiny.toml")


Outcome = tuple[int, str, str]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name = 'x'\nwindow = 3\n", ("window", "unknown key", "accepted")),
        ("[evolution]\nwindw = 3\n", ("evolution.windw", "unknown key", "did you mean 'window'")),
        ("[evolution]\nwindow = 'big'\n", ("evolution.window", "'big'", "integer")),
        ("[evolution]\ntournament = 7.0\n", ("evolution.tournament", "7.0", "less than or equal to 1")),
        ("[space]\nprimitives = ['add', 'cosh']\n", ("space.primitives", "'cosh'", "sigmoid")),
        ("[space]\nindex_sets = ['w']\n", ("space.index_sets", "'w'", "ghw")),
        ("baselines = ['bn']\n", ("baselines", "'bn'", "bn-relu")),
        ("[data]\nscore_on = 'test'\n", ("data.score_on", "'test'", "a search sees no test image", "rerank --test")),
        ("[data]\nname = 'npz'\npath = 'nowhere.npz'\n", ("data.path", "nowhere.npz", "no such file")),
        ("[data]\nname = 'fashion_mnist'\npath = 'nowhere'\n", ("data.path", "nowhere", "dataset-fashion-mnist")),
        ("[execution]\ndevice = 'abacus'\n", ("execution.device", "abacus", "cpu")),
        ("= 3\n", ("is not TOML",)),
    ],
)
def test_a_wrong_search_file_is_one_line_and_nothing_is_written(
    text: str, words: tuple[str, ...], tmp_path: Path, evonas: Callable[..., Outcome]
) -> None:
    base = Path(TINY).read_text()
    for section in ("evolution", "space", "data", "execution"):  # the faulty table takes the place of the good one
        if f"[{section}]" in text:
            head, _, tail = base.partition(f"[{section}]")
            base = head + "\n[" + tail.split("\n[", 1)[1] if "\n[" in tail else head
    text = text.replace("name = 'x'\n", "").replace("baselines", "#\nbaselines")
    top_level = not text.startswith("[")
    if text.startswith("#\nbaselines"):
        base = base.replace('baselines = ["gn-relu"]', "")
    file = tmp_path / "wrong.toml"
    file.write_text(text + base if top_level else base + "\n" + text)
    assert_one_line(evonas("search", file, "--run", tmp_path / "run"), ["wrong.toml", *words])
    assert [p.name for p in tmp_path.iterdir()] == ["wrong.toml"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "a = mul(b, x); b = neg(a); neg(b)"), ("'b'", "before it is defined", "earlier statement")),
        (("show", "a = mul(x, y); neg(a)"), ("'y'", "not defined", "accepted")),
        (("show", "cosh(x)"), ("unknown primitive 'cosh'", "tanh")),
        (("show", "std(x)"), ("no index set", "ghw")),
        (("show", "mul(x)"), ("1 operands", "accepted: 2")),
        (("show", "evonorm-s9"), ("'evonorm-s9'", "evonorm-s0")),
        (("show", "nothing.json"), ("nothing.json", "no such file")),
        (("show", "runs/nowhere#1"), ("runs/nowhere", "no such folder")),
        (("show", "evonorm-s0", "--png", "s0.jpg"), ("--png", "s0.jpg", ".png")),
        (("export", "evonorm-s0", "-o", "s0.txt"), ("s0.txt", ".py")),
        (("top", "nowhere"), ("nowhere", "no such folder", "evonas search")),
        (("rerank", "nowhere"), ("nowhere", "no such folder", "evonas search")),
        (("search",), ("SEARCH", "not given", "evonorm_s")),
        (("search", "evonorm"), ("evonorm: no such file", "did you mean 'evonorm_s'?", "cifar_b")),
        (("evaluate", "bn-relu", "--settings", "helt_out"), ("no such file", "did you mean 'held_out'?")),
        (("hypernet", "qk_layernorm"), ("is a stability study", "run it with: evonas stability qk_layernorm")),
        (("list", "layer"), ("'layer'", "accepted: layers, searches")),
        (("schema", "serach"), ("'serach'", "accepted: search, certificate, comparison")),
        (("init", "/proc/mine.toml"), ("/proc/mine.toml", "cannot be written")),
        (("schema", "-o", "/proc/schema.json"), ("/proc/schema.json", "cannot be written")),
        (("schema", "-o", "search_spaces"), ("search_spaces", "is a folder")),
        (("init", "mine.json"), ("mine.json", ".toml")),
        (("init", "mine.toml", "--data", "no.npz"), ("data.path", "no such file: no.npz")),
        (("search", "search_spaces/nothing.toml"), ("nothing.toml", "no such file", "tiny.toml")),
        (("search", TINY, "--budget", "soon"), ("--budget", "'soon'", "10m")),
        (("search", TINY, "--cache", "nowhere/cache.sqlite"), ("cache.sqlite", "cannot be used for results", "mkdir")),
        (("search", TINY, "--cache", "search_spaces"), ("search_spaces", "cannot be used for results")),
        (("search", TINY, "--start-from", "evonorm-b0"), ("--start-from evonorm-b0", "index set bhw")),
        (("search", TINY, "--start-from", "evonorm-s9"), ("--start-from", "'evonorm-s9'", "RUN#rank")),
        (("search", TINY, "--start-from", "cosh(x)"), ("--start-from", "unknown primitive 'cosh'")),
        (("search", TINY, "--set", "rungs.steps=[4, 2]"), ("tiny.toml", "rungs.steps: [4, 2]", "ascending")),
        (("search", TINY, "--set", "rungs.steps=[3]", "--set", "baselines=[]"), ("baselines", "there are rungs")),
        (("search", TINY, "--set", "rungs.reduction=1.0"), ("rungs.reduction", "greater than 1")),
        (("search", TINY, "--set", "evolution.initial=['relu']"), ("evolution.initial: 'relu'", "evonorm-s0")),
        (("search", TINY, "--set", "evolution.window"), ("--set evolution.window", "cannot be read")),
        (("search", TINY, "--set", "tasks.7.width=1.0"), ("tasks.7.width", "'7'", "0 to 1")),
        (("search", TINY, "--set", "tasks.0.name=twin", "--set", "tasks.1.name=twin"), ("tasks", "'twin'")),
    ],
)
def test_bad_arguments_are_one_line(
    arguments: tuple[str, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    evonas: Callable[..., Outcome],
) -> None:
    (tmp_path / "search_spaces").symlink_to(ROOT / "search_spaces")
    monkeypatch.chdir(tmp_path)
    assert_one_line(evonas(*arguments), words)
    assert [p.name for p in tmp_path.iterdir()] == ["search_spaces"]
