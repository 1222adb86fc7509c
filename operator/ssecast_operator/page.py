"""Simulated runs as one HTML file with everything in it, to put beside a pull request. Pure.

No script, no font and no picture from elsewhere: it can be read without a network, and from an attachment.
"""

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from ssecast_operator.results import ROWS, Figures

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #212121; }
table { border-collapse: collapse; margin: 1rem 0; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #e0e0e0; text-align: right; }
th:first-child, td:first-child { text-align: left; }
.over { color: #c62828; font-weight: bold; }
svg { max-width: 100%; height: auto; }
"""


class Chapter(NamedTuple):
    """One trace with one seed: its title, its figures, and its picture as SVG."""

    title: str
    figures: Sequence[Figures]
    picture: str


def page(chapters: Sequence[Chapter]) -> str:
    """The whole file."""
    body = "\n".join(_chapter(each) for each in chapters)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>ssecast: simulated policies</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>Simulated policies</h1>\n{body}\n</body>\n</html>\n"
    )


def _chapter(chapter: Chapter) -> str:
    head = "".join(f"<th>{escape(each.label)}</th>" for each in chapter.figures)
    rows = "\n".join(
        f"<tr><td>{escape(row.words)}</td>{''.join(_cell(row.shown(each), each) for each in chapter.figures)}</tr>"
        for row in ROWS
    )
    table = f"<table>\n<tr><th></th>{head}</tr>\n{rows}\n</table>"
    return f"<h2>{escape(chapter.title)}</h2>\n{table}\n{_inline(chapter.picture)}"


def _cell(shown: str, figures: Figures) -> str:
    """A peak above the budget is what nobody should overlook."""
    over = " of " in shown and not figures.within_budget
    return f'<td class="over">{escape(shown)}</td>' if over else f"<td>{escape(shown)}</td>"


def _inline(svg: str) -> str:
    """Without the declaration and the document type, which only a file of its own may have."""
    return svg[svg.index("<svg") :]
