"""Dates that are written as texts: in which format, and what they are."""

import re
from itertools import product
from typing import Any

# ISO 8601, of whatever precision, as pandas calls it.
ISO = "ISO8601"

_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y"),
    *("%d-%b-%Y", "%d %b %Y", "%b %d, %Y"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p")
_FORMATS = (ISO, *map("".join, product(_DAYS, _TIMES)), "%H:%M", "%H:%M:%S")

# Different values that rule formats out before all values are looked at.
_N_FIRST = 20

# What any date or time of day looks like; to try the formats takes longer.
_LIKE_DATE = re.compile(r"[\w .,:/+-]*\d[ .,:/-][\w .,:/+-]*")

# An offset from Greenwich: what counts is the clock on the wall.
_OFFSET = r"([T ]\d\d:.*?)(Z|[+-]\d\d:?\d\d)$"


def find_format(texts: Any, where: str) -> str | None:
    """Find the format in which all texts are dates or times of day.

    Parameters
    ----------
    texts : pandas.Series
        Of texts, some of which may be missing.
    where : str
        What to call the column in messages.

    Returns
    -------
    str or None
        As of `datetime.strptime`, or "ISO8601"; None if there is none.

    Raises
    ------
    ValueError
        If day and month cannot be told apart in any of them.
    """
    different = texts.dropna().drop_duplicates()
    first = different.head(_N_FIRST)
    if first.empty or not all(map(_LIKE_DATE.fullmatch, first)):
        return None
    fitting = [one for one in _FORMATS if _fits(first, one) and _fits(different, one)]
    if not fitting:
        return None
    # A year of four digits leaves day and month alone as what two formats may disagree on.
    found = [one for one in fitting if one != ISO]
    if ISO not in fitting and len(found) > 1:
        raise ValueError(
            f"{where} must hold dates of which the day can be told from the month, got such as "
            f"{first.iloc[0]!r}: write them as in 2024-12-31"
        )
    return fitting[0]


def parse(texts: Any, written: str, where: str) -> Any:
    """Dates of texts that are written in a format.

    Parameters
    ----------
    texts : pandas.Series
        With the numbers of their rows, from 0 on, as its index.
    written : str
        As `find_format` returns it.
    where : str

    Returns
    -------
    pandas.Series of datetime64

    Raises
    ------
    ValueError
        If a text is no date in that format.
    """
    dates = _parsed(texts, written)
    bad = texts[dates.isna() & texts.notna()]
    if not bad.empty:
        raise ValueError(
            f"{where} must hold dates written as {written}, as in training, got {bad.iloc[0]!r} "
            f"in row {bad.index[0] + 1}"
        )
    return dates


def _fits(texts, written):
    return bool(_parsed(texts, written).notna().all())


def _parsed(texts, written):
    """Dates, with those missing that are none."""
    import pandas

    if written == ISO:
        texts = texts.str.replace(_OFFSET, r"\1", regex=True)
    return pandas.to_datetime(texts, format=written, errors="coerce")
