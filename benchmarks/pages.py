"""Writes measured figures into a page, between two marks."""

from __future__ import annotations

from pathlib import Path

__all__ = ["README", "fill"]

README = Path(__file__).with_name("README.md")


def fill(page: Path, name: str, text: str) -> None:
    """Replace the text between ``<!-- name: begin -->`` and ``<!-- name: end -->``.

    Raises:
        ValueError: where the page has no such marks.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found, rest = page.read_text().partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page}: there must be the marks {begin} and {end}.")
    page.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}")
