"""Markdown tables."""


def table_head(*columns: str) -> list[str]:
    """The first two lines of a table."""
    return [table_row(*columns), "|" + "---|" * len(columns)]


def table_row(*cells: str) -> str:
    """A line of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
