"""Tables in Markdown, printed line by line."""

from __future__ import annotations


def row(*cells: object) -> None:
    """Print one line."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def header(*cells: str) -> None:
    """Print the first lines of a table."""
    row(*cells)
    row(*["---"] * len(cells))
