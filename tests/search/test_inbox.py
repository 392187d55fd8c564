"""The inbox of a run: what is put there comes out whole, once and in order, and nothing in it can do harm.

Oracles: the layers and names that were put in; the files that are left.
"""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evonas.config import EvolutionConfig
from evonas.errors import InputError
from evonas.graph.catalogue import CATALOGUE
from evonas.graph.genome import Genome
from evonas.graph.space import SearchSpace
from evonas.search import inbox
from evonas.search.engine import Search
from evonas.search.inbox import FORMAT, LARGEST, REFUSED, Inbox
from evonas.search.outcome import LONGEST_NAME, LONGEST_NOTE, Candidate, Origin, Proposal, Rejection

SPACE = SearchSpace(index_sets=("chw", "hw", "ghw"))
LAYER = Genome.from_formula("x * sigmoid(x)")
GOOD = {"format": FORMAT, "layer": "tanh(x)", "from": "me", "note": ""}


def new_search() -> Search:
    return Search(SPACE, EvolutionConfig(initial_random=1), 1)


def test_what_is_put_in_is_proposed_in_that_order_and_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "evonas")
    names = ["evonorm-s0", "frn-tlu", "gn-relu"]
    layers = [(CATALOGUE[name], Origin(name, f"note on {name}")) for name in names]
    ids = inbox.put(tmp_path / "inbox", layers[:2]) + inbox.put(tmp_path / "inbox", layers[2:])
    search, refused = new_search(), list[str]()
    Inbox(tmp_path / "inbox", refused.append).hand_over(search)
    proposals = [search.ask().proposal for _ in names]
    assert [p.origin for p in proposals] == [
        Origin(name, f"note on {name}", id_) for name, id_ in zip(names, ids, strict=True)
    ]
    assert [p.operator for p in proposals] == [f"proposed by {name}" for name in names]
    assert [p.genome.key for p in proposals] == [CATALOGUE[name].key for name in names]
    assert not refused
    assert [record.getMessage() for record in caplog.records] == [
        f"proposed by {name}: {CATALOGUE[name].to_text()}" for name in names
    ]


def test_a_file_is_handed_over_once_and_stays_until_its_candidate_is_recorded(tmp_path: Path) -> None:
    (one, other) = inbox.put(tmp_path, [(LAYER, Origin("a")), (CATALOGUE["frn-tlu"], Origin("b"))])
    search, box = new_search(), Inbox(tmp_path, lambda why: pytest.fail(why))
    for _ in range(3):
        box.hand_over(search)
    first = search.ask()
    assert first.proposal.origin == Origin("a", id=one)
    assert inbox.waiting(tmp_path) == [f"{one}.json", f"{other}.json"]
    box.remove(first)
    assert inbox.waiting(tmp_path) == [f"{other}.json"]
    assert search.ask().proposal.origin == Origin("b", id=other)
    assert search.ask().proposal.origin is None


def test_a_recorded_proposal_is_not_proposed_again_though_its_file_could_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (id_,) = inbox.put(tmp_path, [(LAYER, Origin("a"))])
    said, search = list[str](), new_search()
    box = Inbox(tmp_path, said.append)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: os.unlink(tmp_path / "nothing" / "here"))
        box.remove(Candidate(0, Proposal(LAYER, None, "", Origin("a", id=id_)), ""))
    box.hand_over(search)
    assert search.ask().proposal.origin is None
    assert said == [f"'{id_}.json' cannot be removed from the inbox (No such file or directory)"]


def test_files_of_screened_out_proposals_are_removed_with_their_candidate(tmp_path: Path) -> None:
    ids = inbox.put(tmp_path, [(LAYER, Origin("a")), (LAYER, Origin("a"))])
    out = [(Proposal(LAYER, None, "", Origin("a", id=ids[0])), Rejection("numerics", "test"))]
    Inbox(tmp_path, pytest.fail).remove(Candidate(3, Proposal(LAYER, None, "", Origin("a", id=ids[1])), "", tuple(out)))
    assert inbox.waiting(tmp_path) == []


def test_an_archive_of_somebody_else_cannot_remove_files_elsewhere(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim.json", tmp_path / "inbox"
    folder.mkdir()
    victim.write_text("mine")
    for id_ in ("../victim", str(tmp_path / "victim"), "", "."):
        Inbox(folder, pytest.fail).remove(Candidate(0, Proposal(LAYER, None, "", Origin("a", id=id_)), ""))
    assert victim.read_text() == "mine"


def test_one_for_a_later_candidate_waits_for_it(tmp_path: Path) -> None:
    inbox.put_at(tmp_path, 2, 0, LAYER, Origin("late"))
    search, asked = new_search(), list[Candidate]()
    box = Inbox(tmp_path, pytest.fail)
    for _ in range(4):
        box.hand_over(search)
        asked.append(search.ask())
    assert [c.proposal.origin.by if c.proposal.origin else "" for c in asked] == ["", "", "late", ""]


def _raw(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode()


BAD = {
    "empty": b"",
    "not JSON": b"__import__('os').system('true')",
    "a list": b"[]",
    "a number of many digits": b"1" * 5000,
    "deep": b"[" * 60_000,
    "not UTF-8": b"\xff\xfe\x00",
    "large": b" " * LARGEST + _raw(json.dumps(GOOD)),
    "another format": _raw(json.dumps(GOOD | {"format": "evonas-proposal/2"})),
    "an unknown key": _raw(json.dumps(GOOD | {"code": "1"})),
    "no layer": _raw(json.dumps({"format": FORMAT, "from": "me"})),
    "a layer that is no text": _raw(json.dumps(GOOD | {"layer": ["tanh(x)"]})),
    "an unknown operation": _raw(json.dumps(GOOD | {"layer": "cosh(x)"})),
    "a path": _raw(json.dumps(GOOD | {"layer": "/etc/passwd"})),
    "half a surrogate": b'{"format": "evonas-proposal/1", "layer": "tanh(\\ud800)", "from": "me"}',
    "not of the space": _raw(json.dumps(GOOD | {"layer": "a = std[bhw](x); div(x, a)"})),
    "too many nodes": _raw(json.dumps(GOOD | {"layer": "; ".join(f"n{i} = tanh(x)" for i in range(2000))})),
    "no name": _raw(json.dumps(GOOD | {"from": " \n"})),
    "a long name": _raw(json.dumps(GOOD | {"from": "n" * (LONGEST_NAME + 1)})),
    "a name that is no text": _raw(json.dumps(GOOD | {"from": None})),
    "a long note": _raw(json.dumps(GOOD | {"note": "n" * (LONGEST_NOTE + 1)})),
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD)
def test_what_is_no_proposal_is_put_aside_in_one_line_and_the_next_is_taken(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "0.json").write_bytes(content)
    (tmp_path / "1.json").write_text(json.dumps(GOOD))
    search, refused = new_search(), list[str]()
    Inbox(tmp_path, refused.append).hand_over(search)
    assert search.ask().proposal.origin == Origin("me", id="1")
    (why,) = refused
    assert why.startswith("'0.json'")
    assert why.isprintable()
    assert len(why) <= 500
    assert (tmp_path / REFUSED / "0.json").read_bytes() == content
    assert inbox.waiting(tmp_path) == ["1.json"]


def test_links_pipes_folders_and_other_names_are_put_aside_unread(tmp_path: Path) -> None:
    box, secret = tmp_path / "inbox", tmp_path / "secret.json"
    box.mkdir()
    secret.write_text(json.dumps(GOOD))
    (box / "1.json").symlink_to(secret)
    os.mkfifo(box / "2.json")
    (box / "3.json").mkdir()
    (box / "4.json").symlink_to("/dev/zero")
    for name in ("layer.py", "with blanks.json", "new\nline.json", os.fsdecode(b"\xff.json")):
        (box / name).write_text(json.dumps(GOOD))
    (box / ".5.json.1.new").write_text(json.dumps(GOOD))  # somebody is writing it
    search, refused = new_search(), list[str]()
    Inbox(box, refused.append).hand_over(search)
    assert search.ask().proposal.origin is None
    assert len(refused) == len(list((box / REFUSED).iterdir())) == 8
    assert all(why.isprintable() for why in refused)
    assert (box / REFUSED / "1.json").is_symlink()
    assert secret.read_text() == json.dumps(GOOD)


def test_two_refused_files_of_one_name_are_both_kept(tmp_path: Path) -> None:
    for content in ("one", "two"):
        (tmp_path / "0.json").write_text(content)
        Inbox(tmp_path, lambda _: None).hand_over(new_search())
    assert sorted(path.read_text() for path in (tmp_path / REFUSED).iterdir()) == ["one", "two"]


def test_no_inbox_is_an_empty_one_and_a_file_in_its_place_too(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name in ("nothing", "file"):
        Inbox(tmp_path / name, pytest.fail).hand_over(new_search())


def test_an_inbox_that_cannot_be_written_is_an_error_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("")
    with pytest.raises(InputError, match=r"inbox/\S+\.json: cannot be written \(File exists\)"):
        inbox.put(tmp_path / "inbox", [(LAYER, Origin("a"))])


def test_many_proposers_at_once_lose_nothing_and_nothing_half_written_is_read(tmp_path: Path) -> None:
    """A driver reads all the time while eight threads write."""
    writers, each = 8, 25
    search, taken = Search(SPACE, EvolutionConfig(look_ahead=1000), 1), list[Origin | None]()
    box = Inbox(tmp_path, pytest.fail)

    def write(writer: int) -> list[str]:
        return [
            id_
            for n in range(each)
            for id_ in inbox.put(tmp_path, [(CATALOGUE["evonorm-s0"], Origin(f"{writer}/{n}"))])
        ]

    with ThreadPoolExecutor(writers) as pool:
        written = [pool.submit(write, writer) for writer in range(writers)]
        while not all(future.done() for future in written):
            box.hand_over(search)
        ids = {id_ for future in written for id_ in future.result()}
    for _ in range(writers * each // inbox.AT_ONCE + 1):
        box.hand_over(search)
    for _ in range(writers * each):
        taken.append(search.ask().proposal.origin)
    assert {origin.id for origin in taken if origin} == ids
    assert len(ids) == writers * each
    for writer in range(writers):  # each proposer's own come in its order
        own = [origin.by for origin in taken if origin and origin.by.startswith(f"{writer}/")]
        assert own == [f"{writer}/{n}" for n in range(each)]


def test_an_origin_is_one_printable_line() -> None:
    origin = Origin(" a\tb\ud800 ", "one\ntwo\x00\x1b[31m three")
    assert (origin.by, origin.note) == ("a b", "one two [31m three")
    assert (origin.by + origin.note).encode()
    with pytest.raises(InputError, match="from: has 0 characters; accepted: 1 to 60"):
        Origin("\n")
    with pytest.raises(InputError, match="note: is a int"):
        Origin("a", 3)  # type: ignore[arg-type]
