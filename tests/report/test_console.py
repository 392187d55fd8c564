"""Texts of others on the terminal, in tables and in Markdown. Oracle: what Python says can be printed."""

import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.live import Live
from rich.progress import Progress
from rich.table import Table as Grid

from evonas.cli.terminal import Printed
from evonas.report.console import PlainConsole, say
from evonas.report.table import Table, markdown_text

ESCAPES = ("[/x]", "[bold]a", "\x1b[31m", "\x1b]0;title\x07", "\u202egnp", "\ud800", "\0", "a\rb", ":smile:", "`a|b`")
ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=20) | st.sampled_from(ESCAPES)


def is_plain(printed: str) -> bool:
    return all(character.isprintable() or character == "\n" for character in printed)


@given(ANY_TEXT, ANY_TEXT)
@example("[/x]", "\x1b]0;title\x07")
def test_any_text_is_printed_as_letters(title: str, cell: str) -> None:
    out = io.StringIO()
    console = PlainConsole(out, width=80)
    table = Table.of([{"layer": cell, title or "a": cell, "score": 0.5}], title=title, code=("layer",))
    grid = Grid(title=title)
    grid.add_column(title)
    grid.add_row(cell)
    for what in (Printed(table), grid, cell):
        console.print(what)
    assert is_plain(out.getvalue())
    out.getvalue().encode()


@pytest.mark.parametrize("text", ["[/x]", "[bold]a[/]", ":smile:", "[link=http://a]b[/link]"])
def test_markup_is_letters(text: str) -> None:
    out = io.StringIO()
    PlainConsole(out, width=80).print(text)
    assert out.getvalue() == f"{text}\n"


def test_colours_and_live_displays_of_our_own_still_work() -> None:
    out = io.StringIO()
    console = PlainConsole(out, width=80, force_terminal=True)
    with Live("\x1b]0;title\x07", console=console):
        console.print("a", style="red")
    with Progress(console=console) as bar:
        bar.add_task("b")
    printed = out.getvalue()
    assert "\x1b[31ma\x1b[0m" in printed
    assert "\\x1b]0;title" in printed
    assert "\x1b]" not in printed


def test_a_line_is_printed_whatever_the_terminal_can_encode(capsys: pytest.CaptureFixture[str]) -> None:
    say("a \x1b[31m \ud800 é")
    say("b\x07", error=True)
    assert capsys.readouterr() == ("a \\x1b[31m \\ud800 é\n", "b\\x07\n")


@given(ANY_TEXT, ANY_TEXT)
@example("<script>", "](javascript:alert(1))")
@example("a\n\n# b", "![x](http://x)")
def test_any_text_is_a_cell_of_markdown(title: str, cell: str) -> None:
    table = Table.of([{"layer": cell, "why": cell}, {"layer": "x", "why": "y"}], title=title, code=("layer",))
    lines = table.markdown().splitlines()
    assert len(lines) == 4 + 2 * bool(title)
    assert is_plain("\n".join(lines))
    assert "<" not in markdown_text(cell)
    assert "](" not in markdown_text(cell)
