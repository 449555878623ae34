"""Tables for terminals and for web pages, and pages that need no other file."""

import base64
import html
import io
import shutil
import sys
import textwrap
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
th.text, td.text { text-align: left; white-space: normal; }
td.text:not(:first-child) { min-width: 12rem; }
figure { background: #fff; border-radius: 6px; margin: 1rem 0; padding: 0.5rem; }
img { display: block; height: auto; margin: 0 auto; max-width: 100%; }
@media (max-width: 48rem) {
  body { margin: 1rem auto; }
  figure { padding: 0.25rem; }
  th, td { padding: 0.3rem 0.5rem; }
  /* A shadow at the right edge, which the end of a table covers, tells that there is more. */
  .wide { background:
    linear-gradient(to left, Canvas 40%, transparent) right / 2rem 100% no-repeat local,
    linear-gradient(to left, rgb(128 128 128 / 40%), transparent) right / 0.7rem 100% no-repeat; }
  /* Beside the first column, which stays, there is room for the one that is looked at. */
  th.text:first-child, td.text:first-child { background: Canvas; left: 0; max-width: 8rem;
    min-width: 8rem; overflow-wrap: anywhere; padding-left: 0; position: sticky; }
}
""".strip()


# Characters of the first column of a table, however narrow the terminal.
_NARROWEST = 12


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

    def as_text(self, width=None) -> str:
        """The table in characters of one width, one line a row.

        Parameters
        ----------
        width : int or None, default None
            Where the table is wider, groups of columns go below each other, each beside the first
            column, whose cells then take several lines if they are long.
        """
        if width is None or self._width() <= width:
            return self._lines(self.caption)
        columns = list(zip(self.header, *self.rows, strict=True))
        widest = max(len(cell) for column in columns[1:] for cell in column)
        room = max(min(width // 3, width - widest - 2), _NARROWEST)
        first, *others = columns
        first = tuple(textwrap.fill(cell, room, subsequent_indent="  ") for cell in first)
        groups = [self._of([first, others[0]])]
        for column in others[1:]:
            wider = self._of([*zip(groups[-1].header, *groups[-1].rows, strict=True), column])
            if wider._width() <= width:
                groups[-1] = wider
            else:
                groups.append(self._of([first, column]))
        caption = textwrap.fill(self.caption, width)
        return "\n\n".join(group._lines(caption if group is groups[0] else "") for group in groups)

    def _of(self, columns):
        header, *rows = zip(*columns, strict=True)
        return self._replace(header=header, rows=rows)

    def _widths(self):
        return [
            max(len(line) for cell in column for line in cell.split("\n"))
            for column in zip(self.header, *self.rows, strict=True)
        ]

    def _width(self):
        widths = self._widths()
        return sum(widths) + 2 * (len(widths) - 1)

    def _lines(self, caption):
        """The lines of the table as it is; cells of the first column may have several."""
        widths = self._widths()
        lines = [caption] if caption else []
        for row in [self.header, *self.rows]:
            first, *more = row[0].split("\n")
            cells = [
                cell.ljust(width) if name in self.texts else cell.rjust(width)
                for name, cell, width in zip(self.header, (first, *row[1:]), widths, strict=True)
            ]
            lines += ["  ".join(cells).rstrip(), *more]
            if row is self.header:
                lines.append("-" * self._width())
        return "\n".join(lines)

    def as_html(self, *, by_itself: bool = False) -> str:
        """The table as an element of HTML.

        It is for a page that has a style sheet, or `by_itself`, as in a notebook: then it has the
        fonts and colours of what is around it, so that it can be read in the dark, too.
        """
        text, number, left = ' class="text"', "", ""
        wide = 'class="wide" tabindex="0"'
        if by_itself:
            text, number = (
                f' style="text-align: {side}; padding: 0.1em 0.6em"' for side in ("left", "right")
            )
            left, wide = ' style="text-align: left"', 'style="overflow-x: auto"'
        kinds = [text if name in self.texts else number for name in self.header]

        def line(cells, tag):
            inner = "".join(
                f"<{tag}{kind}>{html.escape(cell)}</{tag}>"
                for cell, kind in zip(cells, kinds, strict=True)
            )
            return f"<tr>{inner}</tr>"

        caption = f"<caption{left}>{html.escape(self.caption)}</caption>\n" if self.caption else ""
        body = "\n".join(line(row, "td") for row in self.rows)
        head = line(self.header, "th")
        return (
            f"<div {wide}><table>\n{caption}<thead>{head}</thead>\n"
            f"<tbody>\n{body}\n</tbody>\n</table></div>"
        )


def text_page(tables: list[Table], notes: list[str]) -> str:
    """Tables and the sentences below them, no wider than the terminal if they go to one."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    blocks = [table.as_text(width) for table in tables]
    if width is not None:
        notes = [textwrap.fill(note, width) for note in notes]
    return "\n\n".join([*blocks, "\n".join(notes)])


def fragment(*parts: str) -> str:
    """Elements of HTML as one that stands by itself, as in a notebook. There is no script in it."""
    return "\n".join(["<div>", *parts, "</div>"])


def folded(title: str, part: str) -> str:
    """An element of HTML that is shown where the reader opens it."""
    return f"<details><summary>{html.escape(title)}</summary>\n{part}\n</details>"


def heading(text: str, level: int) -> str:
    """A heading of HTML."""
    return f"<h{level}>{html.escape(text)}</h{level}>"


def paragraph(text: str) -> str:
    """A paragraph of HTML."""
    return f"<p>{html.escape(text)}</p>"


def picture(draw, what: str) -> str:
    """An element of HTML with the figure that `draw` returns, or with why there is none.

    On a narrow page, as on a phone, it is another one, legible there.

    Parameters
    ----------
    draw : callable
        Takes `narrow`, a bool; returns a matplotlib figure, or raises ImportError.
    what : str
        What it shows, for those who do not see it.
    """
    try:
        wide, narrow = (_as_address(draw(narrow=narrow)) for narrow in (False, True))
    except ImportError as error:
        return paragraph(f"No figure: {error}")
    return (
        f'<figure><picture><source media="(max-width: 48rem)" srcset="{narrow}">'
        f'<img alt="{html.escape(what)}" src="{wide}"></picture></figure>'
    )


def _as_address(figure):
    """An address that is the figure itself."""
    image = io.BytesIO()
    figure.savefig(image, format="png")
    return f"data:image/png;base64,{base64.b64encode(image.getvalue()).decode('ascii')}"


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
