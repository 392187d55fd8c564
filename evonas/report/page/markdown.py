"""A report in Markdown as the blocks that a page shows: headings, paragraphs, lists, code and tables of plain text.

Nothing in it becomes an element of a page, a link or a picture: a block holds texts, and pages show texts as they are.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.token import Token

Text = list[str | list[str]]  # letters, and ["code", letters] for what is set as code
_KEPT = ["link", "image", "autolink", "html_inline", "emphasis"]  # stay the letters that they are
_READER = MarkdownIt("commonmark", {"html": False}).enable("table").disable(_KEPT)


def blocks(text: str) -> list[list[Any]]:
    """The blocks of a text, each a list that begins with its kind.

    They are ``["heading", level, text]``, ``["paragraph", text]``, ``["list", texts]``, ``["code", letters]`` and
    ``["table", texts of the head, rows of texts]``. A list within a list joins it.
    """
    return list(_blocks(_READER.parse(text)))


def _blocks(tokens: Sequence[Token]) -> Iterator[list[Any]]:
    items: list[Text] = []
    rows: list[list[Text]] = []
    depth = 0  # of lists
    for place, token in enumerate(tokens):
        opened = tokens[place - 1].type if place else ""
        match token.type:
            case "bullet_list_open" | "ordered_list_open":
                depth += 1
            case "bullet_list_close" | "ordered_list_close":
                depth -= 1
                if not depth:
                    yield ["list", items]
                    items = []
            case "tr_open":
                rows.append([])
            case "table_close":
                yield ["table", rows[0], rows[1:]]
                rows = []
            case "fence" | "code_block":
                yield ["code", token.content]
            case "inline" if rows:
                rows[-1].append(_text(token))
            case "inline" if depth:
                items.append(_text(token))
            case "inline" if opened == "heading_open":
                yield ["heading", int(tokens[place - 1].tag[1:]), _text(token)]
            case "inline":
                yield ["paragraph", _text(token)]


def _text(token: Token) -> Text:
    """What a line says."""
    found: Text = []
    for part in token.children or ():
        if part.type == "code_inline":
            found.append(["code", part.content])
        elif letters := " " if part.type in ("softbreak", "hardbreak") else part.content:
            if found and isinstance(found[-1], str):
                found[-1] += letters
            else:
                found.append(letters)
    return found
