"""Rows of a CSV file as bytes: which are whole, and what numbers they hold.

A kernel goes on as long as it understands what it reads, and says where it stopped. What is written
in rarer ways, and all that is wrong, is left to who called it.
"""

import math
from typing import NamedTuple

import numpy as np

from fastmlp.kernels._jit import entry, inline, part
from fastmlp.kernels.view import matrix, vector

# What `places` has in place of a column of the matrix.
TARGET = -1
LEFT_OUT = -2
COPIED = -3

# The cursor of `parse_rows`: the next byte and row, the delimiter, and whether the target has been
# of whole numbers. That of `whole_rows` has the next line in place of the row, and no more.
POSITION, ROW, DELIMITER, IS_WHOLE = range(4)
LINE = ROW

# In the cursor of `table_rows` is how long the copied text is, in place of the latter.
LENGTH = IS_WHOLE

# What a column of numbers holds, for `table_rows`.
HAS_WHOLE, HAS_OTHERS, HAS_MISSING = 1, 2, 4

# Powers of ten that `powers_of_ten` has.
FIRST_POWER, LAST_POWER = -330, 310

# Digits of a decimal number that 64 bits always hold, and that int64 always holds.
_MOST_DIGITS = 19
_WHOLE_DIGITS = 18

# Up to these a number and a power of ten are exact in float64, so that one operation rounds right.
_EXACT = np.uint64(1 << 53)
_EXACT_POWER = 22
_TENS = np.array([float(10**i) for i in range(_EXACT_POWER + 1)])

_NEWLINE, _RETURN, _SPACE, _TAB, _QUOTE = 10, 13, 32, 9, 34
_PLUS, _MINUS, _POINT, _ZERO, _E, _SMALL_E = 43, 45, 46, 48, 69, 101

# What a cell is.
_STRANGE, _NUMBER, _WHOLE = range(3)


class Powers(NamedTuple):
    """Powers of ten."""

    rounded: np.ndarray  # of `powers_of_ten`
    exact: np.ndarray  # from 1 up, in float64


def powers_of_ten():
    """Powers of ten as `parse_rows` needs them: (n, 2) uint64, the upper and the lower 64 bits.

    Each is a number of 128 bits, of which the first is set: 10^k = number 2^e for some e, rounded
    down. k goes from `FIRST_POWER` to `LAST_POWER`.
    """
    powers = np.empty((LAST_POWER - FIRST_POWER + 1, 2), np.uint64)
    for i, k in enumerate(range(FIRST_POWER, LAST_POWER + 1)):
        number = 10**k if k >= 0 else (1 << 2048) // 10**-k
        n_bits = number.bit_length()
        number = number >> n_bits - 128 if n_bits > 128 else number << 128 - n_bits
        powers[i] = number >> 64, number & (1 << 64) - 1
    return powers


@entry
def parse_rows(text, places, powers, X, y, whole, cursor):
    """Read rows of numbers up to the end, or to a row that is not understood, or to that of X.

    Each number is the float64 nearest to what is written, as Python's float, cast to the dtype.
    Understood are decimal numbers, with blanks around them, that are finite in the dtype. Rows end
    with a line feed, perhaps after a carriage return, or with the text; empty ones are passed over.

    Parameters
    ----------
    text : (n,) uint8
    places : (n_columns,) int64
        For each cell of a row which column of `X` it belongs to, or `TARGET` or `LEFT_OUT`. What
        is left out may be anything without quotes.
    powers : (n, 2) uint64
        Of `powers_of_ten`.
    X : (n_rows, n_features) float32 or float64
        Overwritten from row ``cursor[ROW]`` on.
    y : (n_rows,) of the same dtype
        The target, overwritten likewise.
    whole : (n_rows,) int64
        The target too, as long as ``cursor[IS_WHOLE]``: while it is written as whole numbers.
    cursor : (4,) int64
        Where to begin. Overwritten by where the reading ended: at the end of `text`, or at the
        first byte of a row that was not read.
    """
    # Views, since references to arrays would be counted for every cell.
    _parse_rows(
        vector(text, 0, text.size),
        vector(places, 0, places.size),
        Powers(matrix(powers, 0, powers.shape[0], 2), vector(_TENS, 0, _TENS.size)),
        matrix(X, 0, X.shape[0], X.shape[1]),
        vector(y, 0, y.size),
        vector(whole, 0, whole.size),
        vector(cursor, 0, cursor.size),
    )


@inline
def _parse_rows(text, places, powers, X, y, whole, cursor):
    n = text.size
    delimiter = cursor[DELIMITER]
    position, row = cursor[POSITION], cursor[ROW]
    zero = X.dtype.type(0.0)
    is_strange = False
    while position < n and row < X.shape[0] and not is_strange:
        at = position
        end = _line_end(text, at)
        if end > at:
            position = end
            continue
        for column in range(places.size):
            place = places[column]
            if place == LEFT_OUT:
                at = _cell_end(text, at, delimiter)
            else:
                at, value, integer, kind = _number(text, at, delimiter, powers)
                number = X.dtype.type(value)
                if kind == _STRANGE or number - number != zero:
                    is_strange = True
                    break
                if place == TARGET:
                    y[row] = number
                    if kind != _WHOLE:
                        cursor[IS_WHOLE] = 0
                    whole[row] = integer
                else:
                    X[row, place] = number
            if column < places.size - 1:
                if at == n or text[at] != delimiter:
                    is_strange = True
                    break
                at += 1
        if not is_strange:
            end = _line_end(text, at)
            is_strange = end == at and at < n
            if not is_strange:
                position, row = end, row + 1
    cursor[POSITION], cursor[ROW] = position, row


@inline
def _line_end(text, at):
    """Return where the next row begins if a line ends at `at`, else `at`; also at the end."""
    if at < text.size and text[at] == _NEWLINE:
        return at + 1
    if at + 1 < text.size and text[at] == _RETURN and text[at + 1] == _NEWLINE:
        return at + 2
    return at


@inline
def _cell_end(text, at, delimiter):
    """Return where a cell ends that may hold anything: at a delimiter, an end, or a quote."""
    while at < text.size:
        c = text[at]
        # Most characters are above all of the latter.
        if c == delimiter or (c <= _QUOTE and c in (_NEWLINE, _RETURN, _QUOTE)):
            break
        at += 1
    return at


@inline
def _blanks_end(text, at, delimiter):
    while at < text.size and (text[at] == _SPACE or text[at] == _TAB) and text[at] != delimiter:
        at += 1
    return at


@inline
def _digits_end(text, at, number):
    """Return where digits end that begin at `at`, and the number they make, behind others."""
    while at < text.size:
        digit = np.uint64(text[at]) - np.uint64(_ZERO)  # what is less than zero wraps around
        if digit > np.uint64(9):
            break
        number = number * np.uint64(10) + digit
        at += 1
    return at, number


@inline
def _number(text, at, delimiter, powers):
    """Return where a cell ends, its number, that as an integer if it is whole, and what it is."""
    n = text.size
    at = _blanks_end(text, at, delimiter)
    is_negative = at < n and text[at] == _MINUS
    if is_negative or (at < n and text[at] == _PLUS):
        at += 1
    begin = at
    at, digits = _digits_end(text, begin, np.uint64(0))
    n_digits = at - begin
    is_whole = True
    exponent = 0
    if at < n and text[at] == _POINT:
        after = at + 1
        at, digits = _digits_end(text, after, digits)
        exponent = after - at
        n_digits -= exponent
        is_whole = False
    is_strange = n_digits == 0 or (is_whole and n_digits > _WHOLE_DIGITS)
    is_cut = False
    if n_digits > _MOST_DIGITS:
        digits, n_cut = _first_digits(text, begin, at)
        exponent += n_cut
        is_cut = n_cut > 0
    if at < n and (text[at] == _SMALL_E or text[at] == _E):
        is_strange, is_whole = n_digits == 0, False
        at += 1
        is_small = at < n and text[at] == _MINUS
        if is_small or (at < n and text[at] == _PLUS):
            at += 1
        begin = at
        at, power = _digits_end(text, begin, np.uint64(0))
        is_strange |= not 1 <= at - begin <= 4
        exponent += -np.int64(power) if is_small else np.int64(power)
    at = _blanks_end(text, at, delimiter)
    value = -1.0 if is_strange else _nearest(digits, exponent, powers)
    if is_cut and value != _nearest(digits + np.uint64(1), exponent, powers):
        value = -1.0
    if value < 0.0:
        return at, value, 0, _STRANGE
    integer = np.int64(digits)
    if is_negative:
        value, integer = -value, -integer
    return at, value, integer, _WHOLE if is_whole else _NUMBER


@inline
def _first_digits(text, at, end):
    """Return the number that the first 19 digits make, not counting zeros in front of them.

    And how many digits follow these; there may be a point among all of them.
    """
    digits, n_taken, n_cut = np.uint64(0), 0, 0
    while at < end:
        if text[at] != _POINT:
            if n_taken < _MOST_DIGITS:
                digits = digits * np.uint64(10) + (np.uint64(text[at]) - np.uint64(_ZERO))
                n_taken += 1 if digits > np.uint64(0) else 0
            else:
                n_cut += 1
        at += 1
    return digits, n_cut


@part
def _nearest(digits, exponent, powers):
    """Return the float64 nearest to ``digits * 10**exponent``, or -1 if it is not found.

    Where both are exact this is Clinger's product or quotient (How to read floating point numbers
    accurately, PLDI 1990). Else it is the algorithm of Eisel and Lemire (Lemire, Number parsing at
    a gigabyte per second, Software: Practice and Experience 51, 2021): the upper bits of the
    product with a rounded power of ten, which tell unless they are within their error of half-way,
    or of a float64. What is too small for a normal number, or too large, is not found either.
    """
    is_exact = digits <= _EXACT and -_EXACT_POWER <= exponent <= _EXACT_POWER
    if is_exact or exponent == 0:
        if exponent < 0:
            return np.float64(digits) / powers.exact[-exponent]
        return np.float64(digits) * powers.exact[exponent]
    if digits == np.uint64(0):
        return 0.0
    if not FIRST_POWER <= exponent <= LAST_POWER:
        return -1.0
    factor = powers.rounded[exponent - FIRST_POWER, 0]
    rest = powers.rounded[exponent - FIRST_POWER, 1]
    shift = 0
    while digits < np.uint64(1 << 56):
        digits <<= np.uint64(8)
        shift += 8
    while digits < np.uint64(1 << 63):
        digits <<= np.uint64(1)
        shift += 1
    upper, lower = _product(digits, factor)
    below = np.uint64(0x1FF)  # the bits of `upper` that no result has
    if upper & below == below and lower + digits < lower:
        more, least = _product(digits, rest)
        lower += more
        if lower < more:
            upper += np.uint64(1)
        is_near = upper & below == below and lower + np.uint64(1) == np.uint64(0)
        if is_near and least + digits < least:
            return -1.0
    top = upper >> np.uint64(63)
    number = upper >> (top + np.uint64(9))
    if lower == np.uint64(0) and upper & below == np.uint64(0) and number & np.uint64(3) == 1:
        return -1.0
    number = (number + (number & np.uint64(1))) >> np.uint64(1)
    # 10^exponent is factor 2^(two - 63), as 217706 / 2^16 is the logarithm of 10 to base 2.
    two = (217706 * exponent) >> 16
    scale = two - shift + np.int64(top) + 11
    if not -1022 <= scale + 52 <= 1022:
        return -1.0
    return math.ldexp(np.float64(number), scale)


@inline
def _product(a, b):
    """Return the upper and the lower 64 bits of the product of two numbers of 64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, b0, b1 = a & low, a >> half, b & low, b >> half
    first = a0 * b0
    middle = a1 * b0 + (first >> half)
    other = a0 * b1 + (middle & low)
    return a1 * b1 + (middle >> half) + (other >> half), a * b


@entry
def table_rows(text, places, powers, marks, X, kinds, copied, cursor):
    """Read rows of numbers, which may be missing, and of other cells, as far as `parse_rows` does.

    A number is missing if its cell is a mark, or, with several columns, empty or of spaces alone.
    Whole numbers from 2^53 on are not understood. Other cells may have quotes as in `whole_rows`.

    Parameters
    ----------
    text, places, powers
        As of `parse_rows`. Cells of columns that are `COPIED` are.
    marks : (n,) uint8
        What stands for a missing number, each with a line feed after it.
    X : (n_numbers, n_rows) float64
        A row for each column of numbers. Overwritten from column ``cursor[ROW]`` on, by NaN where
        a number is missing.
    kinds : (n_numbers,) int64
        `HAS_WHOLE`, `HAS_OTHERS` and `HAS_MISSING` are added for numbers of these kinds.
    copied : (n,) uint8
        Cells as they are, with delimiters between and a line feed after each row. It must be as
        long as `text`, and longer by one.
    cursor : (4,) int64
        As of `parse_rows`, the last one the length of what was copied. What was written of the row
        where the reading ended means nothing.
    """
    _table_rows(
        vector(text, 0, text.size),
        vector(places, 0, places.size),
        Powers(matrix(powers, 0, powers.shape[0], 2), vector(_TENS, 0, _TENS.size)),
        vector(marks, 0, marks.size),
        matrix(X, 0, X.shape[0], X.shape[1]),
        vector(kinds, 0, kinds.size),
        vector(copied, 0, copied.size),
        vector(cursor, 0, cursor.size),
    )


@inline
def _table_rows(text, places, powers, marks, X, kinds, copied, cursor):
    n = text.size
    delimiter = cursor[DELIMITER]
    position, row, length = cursor[POSITION], cursor[ROW], cursor[LENGTH]
    is_strange = False
    while position < n and row < X.shape[1] and not is_strange:
        at = position
        end = _line_end(text, at)
        if end > at:
            position = end
            continue
        first = length
        for column in range(places.size):
            place = places[column]
            if place < 0:
                begin, at = at, _any_cell_end(text, at, delimiter)
                if place == COPIED:
                    while begin < at:
                        copied[length] = text[begin]
                        begin, length = begin + 1, length + 1
                    copied[length] = delimiter
                    length += 1
            else:
                at, value, kind = _table_number(text, at, delimiter, powers, marks)
                if kind == 0 or (kind == HAS_MISSING and places.size == 1):
                    is_strange = True
                    break
                X[place, row] = value
                kinds[place] |= kind
            if column < places.size - 1:
                if at == n or text[at] != delimiter:
                    is_strange = True
                    break
                at += 1
        if not is_strange:
            end = _line_end(text, at)
            is_strange = end == at and at < n
            if not is_strange:
                position, row = end, row + 1
                if length > first:
                    copied[length - 1] = _NEWLINE
        if is_strange:
            length = first
    cursor[POSITION], cursor[ROW], cursor[LENGTH] = position, row, length


@inline
def _table_number(text, at, delimiter, powers, marks):
    """Return where a cell ends, its number, and the kind of that, 0 if it is not understood."""
    n = text.size
    while at < n and text[at] == _SPACE:
        at += 1
    if at == n or text[at] == delimiter or _line_end(text, at) > at:
        return at, np.nan, HAS_MISSING
    end, value, _, kind = _number(text, at, delimiter, powers)
    if kind == _STRANGE:
        end = _cell_end(text, at, delimiter)
        return end, np.nan, HAS_MISSING if _is_among(text, at, end, marks) else 0
    if kind == _WHOLE:
        return end, value, HAS_WHOLE if math.fabs(value) < np.float64(_EXACT) else 0
    return end, value, HAS_OTHERS if value - value == 0.0 else 0


@inline
def _is_among(text, begin, end, marks):
    """Return whether a text is one of those that have line feeds after them."""
    at, is_same = begin, True
    for i in range(marks.size):
        if marks[i] != _NEWLINE:
            is_same = is_same and at < end and text[at] == marks[i]
            at += 1
        elif is_same and at == end:
            return True
        else:
            at, is_same = begin, True
    return False


@inline
def _any_cell_end(text, at, delimiter):
    """Return where a cell ends that may have quotes around it, and blanks in front of these."""
    first = _blanks_end(text, at, delimiter)
    if first < text.size and text[first] == _QUOTE:
        return _quote_end(text, first + 1)
    return _cell_end(text, first, delimiter)


@entry
def whole_rows(text, n_columns, cursor):
    """Pass over rows with a cell for every column, up to the end, or to a row that is none.

    Cells may have double quotes around them, with blanks in front, delimiters and line ends
    within, and quotes that are doubled. Empty rows, and those of blanks alone, are passed over.

    Parameters
    ----------
    text : (n,) uint8
    n_columns : int
    cursor : (3,) int64
        Where to begin. Overwritten by where the reading ended, which is after the line end of the
        last row that is whole.
    """
    _whole_rows(vector(text, 0, text.size), n_columns, vector(cursor, 0, cursor.size))


@inline
def _whole_rows(text, n_columns, cursor):
    n = text.size
    delimiter = cursor[DELIMITER]
    position, n_lines = cursor[POSITION], cursor[LINE]
    while position < n:
        n_cells, n_within = 1, 1
        at = first = _blanks_end(text, position, delimiter)
        while True:
            if at < n and text[at] == _QUOTE:
                begin, at = at, _quote_end(text, at + 1)
                n_within += _count(text, begin, at, _NEWLINE)
            else:
                at = _cell_end(text, at, delimiter)
            if at == n or text[at] != delimiter:
                break
            n_cells += 1
            at = _blanks_end(text, at + 1, delimiter)
        end = _line_end(text, at)
        is_blank = first == at
        if end == at or (n_cells != n_columns and not is_blank):
            break
        position, n_lines = end, n_lines + n_within
    cursor[POSITION], cursor[LINE] = position, n_lines


@inline
def _count(text, at, end, wanted):
    n = 0
    while at < end:
        n += 1 if text[at] == wanted else 0
        at += 1
    return n


@inline
def _quote_end(text, at):
    """Return where a cell ends after its second quote, of which the first is before `at`."""
    n = text.size
    while at < n:
        if text[at] == _QUOTE:
            if at + 1 == n or text[at + 1] != _QUOTE:
                return at + 1
            at += 1
        at += 1
    return n
