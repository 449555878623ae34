"""Tables for terminals and for web pages, and pages that need no other file."""

import base64
import html
import io
from pathlib import Path
from typing import NamedTuple

from fastmlp.writing import writing

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; }
h1, h2, h3 { line-height: 1.25; }
h2 { margin-top: 2.5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; margin: 1rem 0; }
caption { font-weight: 600; padding: 0.3rem 0; text-align: left; }
th, td { border-bottom: 1px solid color-mix(in srgb, currentColor 20%, transparent);
  font-variant-numeric: tabular-nums; padding: 0.3rem 0.8rem; text-align: right;
  white-space: nowrap; }
th { border-bottom-width: 2px; }
.text { text-align: left; }
td.text:not(:first-child) { min-width: 12rem; white-space: normal; }
figure { background: #fff; border-radius: 6px; margin: 1rem 0; padding: 0.5rem; }
img { display: block; height: auto; margin: 0 auto; max-width: 100%; }
""".strip()


class Table(NamedTuple):
    """Rows of text under a header.

    Attributes
    ----------
    header : tuple of str
    rows : list of tuple of str
    texts : frozenset of str
        The columns of the header that hold words and stand to the left; numbers stand to the
        right.
    caption : str
    """

    header: tuple[str, ...]
    rows: list[tuple[str, ...]]
    texts: frozenset[str]
    caption: str = ""

    def as_text(self) -> str:
        """The table in characters of one width, one line a row."""
        widths = [max(map(len, column)) for column in zip(self.header, *self.rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if name in self.texts else cell.rjust(width)
                for name, cell, width in zip(self.header, row, widths, strict=True)
            ).rstrip()
            for row in [self.header, *self.rows]
        ]
        lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
        if self.caption:
            lines.insert(0, self.caption)
        return "\n".join(lines)

    def as_html(self) -> str:
        """The table as an element of HTML."""
        kinds = [' class="text"' if name in self.texts else "" for name in self.header]

        def line(cells, tag):
            inner = "".join(
                f"<{tag}{kind}>{html.escape(cell)}</{tag}>"
                for cell, kind in zip(cells, kinds, strict=True)
            )
            return f"<tr>{inner}</tr>"

        caption = f"<caption>{html.escape(self.caption)}</caption>\n" if self.caption else ""
        body = "\n".join(line(row, "td") for row in self.rows)
        return (
            f'<div class="wide"><table>\n{caption}<thead>{line(self.header, "th")}</thead>\n'
            f"<tbody>\n{body}\n</tbody>\n</table></div>"
        )


def heading(text: str, level: int) -> str:
    """A heading of HTML."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of HTML."""
    return f"<p>{html.escape(text)}</p>"


def picture(draw, what: str) -> str:
    """An element of HTML with the figure that `draw` returns, or with why there is none.

    Parameters
    ----------
    draw : callable
        Returns a matplotlib figure, or raises ImportError.
    what : str
        What it shows, for those who do not see it.
    """
    try:
        figure = draw()
    except ImportError as error:
        return paragraph(f"No figure: {error}")
    image = io.BytesIO()
    figure.savefig(image, format="png")
    data = base64.b64encode(image.getvalue()).decode("ascii")
    return f'<figure><img alt="{html.escape(what)}" src="data:image/png;base64,{data}"></figure>'


def save_figure(figure, path) -> None:
    """Write a matplotlib figure to a file, in the format that its ending says, else PNG."""
    with writing("path", path) as file:
        figure.savefig(file, format=Path(path).suffix[1:] or "png")


def write_page(path, title: str, parts: list[str]) -> None:
    """Write elements of HTML to a file that is a page by itself."""
    page = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        '<head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{html.escape(title)}</title>",
        f"<style>\n{_STYLE}\n</style></head>",
        "<body>",
        heading(title, 1),
        *parts,
        "</body>",
        "</html>",
    ]
    with writing("path", path, "w", encoding="utf-8") as file:
        file.write("\n".join(page) + "\n")
