"""Reports in Markdown as blocks. Oracle: what the tables, lists and texts were written from."""

from evonas.report.page.markdown import blocks
from evonas.report.save import Report
from evonas.report.table import Table

HOSTILE = "</script><img src=x onerror=alert(1)> [link](javascript:alert(1)) ![picture](http://a.b/c.png) <http://a.b>"


def letters(text: list[str | list[str]]) -> str:
    return "".join(part[1] if isinstance(part, list) else part for part in text)


def test_a_table_comes_back_cell_by_cell_whatever_its_cells_hold() -> None:
    cells = ("a | b", "*stars* and `ticks`", HOSTILE, "x * sigmoid(x) | 2", "1,024.5 %", "")
    table = Table(tuple(f"column {number}" for number in range(len(cells))), (cells, cells[::-1]), code=("column 3",))
    (found,) = blocks(table.markdown())
    assert found[0] == "table"
    assert [letters(head) for head in found[1]] == list(table.columns)
    assert [[letters(cell) for cell in row] for row in found[2]] == [list(cells), list(cells[::-1])]
    assert found[2][0][3] == [["code", "x * sigmoid(x) | 2"]]


def test_a_report_is_headings_tables_sentences_and_lists_in_their_order() -> None:
    said = "## A part\n\nTwo lines\nof `code`.\n\n- one\n- two `b`\n  - third\n\n```toml\na = 1\n```"
    report = Report("A <b>title</b>", [Table(("a",), ((1,),), title="A table.")], {}, details=[said], failures=["x: y"])
    assert blocks(report.markdown()) == [
        ["heading", 1, ["A <b>title</b>"]],
        ["paragraph", ["A table."]],
        ["table", [["a"]], [[["1"]]]],
        ["heading", 2, ["A part"]],
        ["paragraph", ["Two lines of ", ["code", "code"], "."]],
        ["list", [["one"], ["two ", ["code", "b"]], ["third"]]],
        ["code", "a = 1\n"],
        ["list", [["failed: x: y"]]],
    ]


def test_no_text_becomes_a_link_a_picture_or_an_element() -> None:
    assert blocks(HOSTILE) == [["paragraph", [HOSTILE]]]
