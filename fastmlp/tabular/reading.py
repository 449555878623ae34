"""Tables in files, CSV or Parquet, as data frames of pandas."""

import io
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np

from fastmlp.datasets.reading import open_data, plain_size
from fastmlp.datasets.text_lines import count_lines
from fastmlp.datasets.threads import map_in_order
from fastmlp.feature_names import find_columns, listing
from fastmlp.kernels.csv_text import (
    COPIED,
    HAS_WHOLE,
    LEFT_OUT,
    LENGTH,
    POSITION,
    ROW,
    powers_of_ten,
    table_rows,
)
from fastmlp.tabular.csv_rows import Block, Rows, Stream
from fastmlp.tabular.dates import find_format, parse
from fastmlp.tabular.row_sample import RowSample

_PARQUET = b"PAR1"

# Rows of a Parquet file that are read at a time, where not all are.
_PARQUET_ROWS = 1 << 16

# What a cell takes while networks are trained: in the data frame, in the matrix that is made of it,
# and in those of the networks that train side by side. The texts of a row come on top.
CELL_BYTES = 24

# Below this float64 has all integers.
_EXACT = 1 << 53

# Bytes of rows of a sample that are parsed at once.
_SAMPLE_BYTES = 1 << 21

# Cells that stand for a missing value: those of pandas, and what the UCI repository writes.
MISSING = (
    *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN"),
    *("<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null", "?"),
)

# The same as compiled code takes them, but for empty cells.
_MARKS = np.frombuffer("".join(f"{mark}\n" for mark in MISSING if mark).encode(), np.uint8)

# In a target that is no number this is the name of a class.
_CLASS = "None"


@dataclass
class Reading:
    """What the cells of a file alone do not tell.

    Parameters
    ----------
    wanted : sequence of str, or None
        Columns to read, which are there in this order; None is all.
    texts : set of str
        Columns of texts, whatever they look like.
    dates : dict of str to (str or None)
        Columns of dates, and in which format; None is to be found.
    finds_dates : bool
        Whether other columns of texts are dates if all of them are such.
    """

    wanted: Sequence[str] | None = None
    texts: set[str] = field(default_factory=set)
    dates: dict[str, str | None] = field(default_factory=dict)
    finds_dates: bool = True


@dataclass
class Table:
    """What a file holds.

    Attributes
    ----------
    features : pandas.DataFrame
    target : pandas.Series or None
        Numbers, or texts; NaN where it is missing.
    dates : dict of str to str
        Columns of dates that were texts, and their format.
    n_rows : int
        Of the file; more than there are here if these are a sample.
    """

    features: Any
    target: Any
    dates: dict[str, str]
    n_rows: int


def read_table(
    path: Any,
    target: str | None = None,
    left_out: Sequence[str] = (),
    reading: Reading | None = None,
    memory: int | None = None,
    seed: int = 0,
) -> Table:
    """Read a CSV or Parquet file.

    CSV has a header line, and may be compressed by gzip, bzip2 or xz. Its delimiter is a comma, a
    semicolon, a tab or a bar, which the first lines tell, as they tell a decimal comma. Cells may
    have double quotes. Missing are those of `MISSING`; in a target that is no number "None" is a
    class. A column is of numbers, of booleans (true and false) or of dates if all its cells are,
    else of texts.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        A pipe, or a file that is open, is read once; else a file may be read twice.
    target : str or None, default None
    left_out : sequence of str, default ()
        Columns that are not read.
    reading : Reading or None, default None
    memory : int or None, default None
        Bytes that the rows may take until networks are trained on them, `CELL_BYTES` a cell and
        their texts. Of more rows a uniform random sample is read, in their order, of at least four
        fifths of the rows that fit. None is no limit.
    seed : int, default 0
        Of the sample.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        Without pandas, and for Parquet without pyarrow.
    ValueError
        If there are no rows or no features; if columns are missing or share a name; if the file is
        damaged, or no CSV, as `csv_rows.Rows` says; if dates are not in their format.
    """
    _check_pandas()
    reading = Reading() if reading is None else reading
    frame = n_rows = None
    if _can_be_read_again(path):
        with _opened(path, target, left_out, reading) as file:
            if memory is None or file.is_likely_within(path, memory):
                frame = file.read_side_by_side(memory)
    if frame is None:
        with _opened(path, target, left_out, reading) as file:
            if memory is None:
                frame = file.read_at_once()
            else:
                frame, n_rows = file.read_sample(path, memory, np.random.default_rng(seed))
    if len(frame) == 0:
        raise _no_rows(file.source)
    return _table(file, frame, target, left_out, reading, n_rows or len(frame))


def read_tables(
    path: str | os.PathLike[str], target: str | None, reading: Reading
) -> Iterator[Table]:
    """Read a file block by block: some rows at a time, numbered from 0 in the file.

    Parameters and errors are those of `read_table`. What `reading` does not say of the columns is
    found for each block.
    """
    _check_pandas()
    n_before = 0
    with _opened(path, target, (), reading) as file:
        for frame in file.blocks(path):
            frame.index += n_before
            n_before += len(frame)
            yield _table(file, frame, target, (), reading, len(frame))
        if n_before == 0:
            raise _no_rows(file.source)


@contextmanager
def _opened(path, target, left_out, reading):
    with open_data(path) as (file, source):
        is_parquet = file.peek(len(_PARQUET)).startswith(_PARQUET)  # type: ignore[attr-defined]
        kind = _Parquet if is_parquet else _Csv
        yield kind(file, source, target, left_out, reading)


def _table(file, frame, target, left_out, reading, n_rows):
    """A table of some or all rows of a file."""
    if reading.wanted is None:
        names = [name for name in frame.columns if name != target and name not in left_out]
    else:
        names = list(reading.wanted)
    answers = None
    if target is not None:
        answers = file.answers(frame[target], target in reading.texts)
    features, formats = _with_dates(frame[names], file.source, reading)
    return Table(features, answers, formats, n_rows)


def _rows_within(memory, n_columns, row_bytes):
    """How many rows of a size memory has room for."""
    n_rows = max(1, int(memory / (CELL_BYTES * n_columns + row_bytes)))
    # Rounded, as memory that is free changes a little, and a sample should not.
    n_bits = max(0, n_rows.bit_length() - 3)
    return n_rows >> n_bits << n_bits


def _no_rows(source):
    return ValueError(f"{source} has a header but no row of data; at least one is needed")


def _check_pandas():
    try:
        import pandas  # noqa: F401
    except ImportError:
        raise ImportError("tables are read by pandas: pip install 'fastmlp[tables]'") from None


class _Parquet:
    """A Parquet file, whose columns are of known types."""

    def __init__(self, file, source, target, left_out, reading):
        self._file, self.source = file, source
        self._asked_for = target, left_out, reading.wanted

    def read_at_once(self):
        import pandas

        with self._messages():
            frame = pandas.read_parquet(io.BytesIO(self._file.read()))
        return self._checked(frame)

    def read_side_by_side(self, memory):
        return self.read_at_once()

    def is_likely_within(self, path, memory):
        """Whether all rows take no more memory; read from the head of the file of that name."""
        with self._opened(path) as file:
            return file.metadata.num_rows <= self._rows_within(file, memory)

    def read_sample(self, path, memory, rng):
        """A random sample of the rows if all would take more memory, and how many there are."""
        with self._opened(path) as file:
            sample = RowSample(self._rows_within(file, memory), rng)
            n_rows = file.metadata.num_rows
            for begin in range(0, n_rows, _PARQUET_ROWS):
                sample.add(min(_PARQUET_ROWS, n_rows - begin), partial(int.__add__, begin))
            frame = self._rows_of(file, np.array(sample.rows(), np.int64))
        return self._checked(frame), n_rows

    def _rows_of(self, file, numbers):
        import pyarrow

        batches, begin = [], 0
        with self._messages():
            for batch in file.iter_batches(_PARQUET_ROWS):
                first, last = np.searchsorted(numbers, [begin, begin + len(batch)])
                batches.append(batch.take(pyarrow.array(numbers[first:last] - begin)))
                begin += len(batch)
            return pyarrow.Table.from_batches(batches, file.schema_arrow).to_pandas()

    def blocks(self, path):
        """Some rows at a time, which are read from the file of that name."""
        with self._opened(path) as file:
            import pyarrow

            batches = file.iter_batches(_PARQUET_ROWS)
            while True:
                with self._messages():
                    batch = next(batches, None)
                    if batch is None:
                        return
                    frame = pyarrow.Table.from_batches([batch]).to_pandas()
                yield self._checked(frame)

    def _opened(self, path):
        with self._messages():
            import pyarrow.parquet

            is_plain = plain_size(path) is not None
            return pyarrow.parquet.ParquetFile(
                path if is_plain else io.BytesIO(self._file.read()), pre_buffer=False
            )

    def _rows_within(self, file, memory):
        head = file.metadata
        n_bytes = sum(head.row_group(i).total_byte_size for i in range(head.num_row_groups))
        return _rows_within(memory, head.num_columns, n_bytes / max(1, head.num_rows))

    def answers(self, column, is_text):
        return _plain_target(column, is_text)

    @contextmanager
    def _messages(self):
        try:
            yield
        except ImportError:
            raise ImportError("Parquet is read by pyarrow: pip install 'fastmlp[tables]'") from None
        except (OSError, ValueError) as error:
            raise ValueError(f"{self.source} is a damaged Parquet file: {error}") from None

    def _checked(self, frame):
        frame = frame.reset_index(drop=frame.index.names == [None])
        _check_columns(list(frame.columns), self.source, *self._asked_for)
        return frame


def _can_be_read_again(path):
    return isinstance(path, str | os.PathLike) and os.path.isfile(path)


class _Plan(NamedTuple):
    """How compiled code parses a block."""

    places: np.ndarray  # of `table_rows`
    numbers: list[str]
    others: list[str]  # columns that pandas parses


def _is_plain_number(column):
    """Whether a column is of numbers that are all exact in float64."""
    if _kind_of(column) != "number":
        return False
    return column.dtype.kind == "f" or bool((column.abs() < _EXACT).all())


class _Csv:
    """A CSV file with the columns of it that are wanted."""

    def __init__(self, file, source, target, left_out, reading):
        self.source = source
        self._rows = Rows(file, source)
        # As in pandas.
        names = [name or f"Unnamed: {i}" for i, name in enumerate(self._rows.names)]
        _check_columns(names, source, target, left_out, reading.wanted)
        self._targets = {target} - {None}
        used = set(names if reading.wanted is None else reading.wanted) - set(left_out)
        used |= self._targets
        self._texts = (reading.texts | set(reading.dates)) & used
        self._n_columns = len(used)
        missing = {name: [""] if name == target else list(MISSING) for name in used}
        self._names = [name if name in used else i for i, name in enumerate(names)]
        self._options = {
            "header": None,
            "names": self._names,
            "usecols": [i for i, name in enumerate(names) if name in used],
            "sep": self._rows.dialect.delimiter,
            "decimal": self._rows.dialect.decimal,
            "na_values": missing,
            "keep_default_na": False,
            "index_col": False,
            "low_memory": False,  # else kinds are told for parts of a column
        }

    def read_at_once(self):
        """Columns as pandas takes them, the target as texts."""
        return self._parse_at_once(self._rows.blocks())

    def read_side_by_side(self, memory):
        """The same, by a thread a core, and a target of numbers as such.

        None if blocks disagree on what a column holds, which only all its cells together can tell;
        and if all rows would take more than so much memory, or None without a limit.
        """
        most = np.inf if memory is None else self._rows_within(memory)
        blocks = self._unchecked_blocks()
        first = self._parse_block(self._checked(next(blocks, Block(b""))))
        rest = map_in_order(partial(self._parse_part, self._plan_for(first)), blocks)
        parts, n_rows = [], 0
        for part in chain([dict(first.items())], rest):
            n_here = len(next(iter(part.values())))
            n_rows += n_here
            if n_rows > most:
                return None
            if n_here > 0:  # without rows, kinds of columns mean nothing
                parts.append(part)
        return _joined(parts or [dict(first.items())], self._targets)

    def is_likely_within(self, path, memory):
        """Whether all rows take no more memory, as far as size and first rows of the file tell."""
        size = plain_size(path)
        return size is None or size <= self._rows_within(memory) * self._rows.row_bytes

    def read_sample(self, path, memory, rng):
        """A random sample of the rows if all would take more memory, and how many there are."""
        sample = RowSample(self._rows_within(memory), rng)
        for rows in self._rows.rows():
            sample.add(len(rows), rows.__getitem__)
        return self._parse_at_once(_texts_of(sample.rows())), sample.n_rows

    def _rows_within(self, memory):
        return _rows_within(memory, self._n_columns, self._rows.row_bytes)

    def blocks(self, path):
        """Some rows at a time, the target as texts."""
        texts = self._texts | self._targets
        yield from map_in_order(
            lambda text: self._parse(io.BytesIO(text), texts), self._blocks_of_rows()
        )

    def answers(self, column, is_text):
        return _written_target(column, self._options["decimal"], is_text)

    def _blocks_of_rows(self):
        return (text for text in self._rows.blocks() if text)

    def _unchecked_blocks(self):
        """Blocks, and after them the fault that ended them: an earlier one may still be found."""
        try:
            yield from (block for block in self._rows.unchecked() if block.text)
        except ValueError as error:
            yield error

    def _checked(self, block):
        if isinstance(block, ValueError):
            raise block
        return self._rows.checked(block)

    def _parse_at_once(self, blocks):
        return self._parse(io.BufferedReader(Stream(blocks)), self._texts | self._targets)

    def _parse_block(self, text, **options):
        return self._parse(io.BytesIO(text), self._texts, b" " in text, **options)

    def _parse(self, file, texts, has_blanks=True, **options):
        import pandas

        return pandas.read_csv(
            file,
            dtype=dict.fromkeys(texts, str),
            skipinitialspace=has_blanks,  # which takes time
            **self._options | options,
        )

    def _plan_for(self, first):
        """How to parse blocks by compiled code, as columns of the first one are; None if not."""
        if self._rows.dialect.decimal != "." or len(self._rows.names) == 1:
            return None
        numbers = [name for name in first.columns if _is_plain_number(first[name])]
        others = [name for name in first.columns if name not in set(numbers)]
        place_of = dict.fromkeys(others, COPIED) | {name: i for i, name in enumerate(numbers)}
        places = [place_of.get(name, LEFT_OUT) for name in self._names]
        return _Plan(np.array(places, np.int64), numbers, others)

    def _parse_part(self, plan, block):
        """Columns of a block by name."""
        is_compiled = isinstance(block, Block) and block.is_usual and plan is not None
        columns = self._parse_compiled(plan, block.text) if is_compiled else None
        if columns is None:
            columns = dict(self._parse_block(self._checked(block)).items())
        return columns

    def _parse_compiled(self, plan, text):
        """Columns of a block whose rows are whole, and of numbers where planned; else None."""
        import pandas

        try:
            if not text.isascii():
                text.decode()
        except UnicodeDecodeError:
            return None
        X = np.empty((len(plan.numbers), count_lines(text)))
        kinds = np.zeros(len(plan.numbers), np.int64)
        copied = np.empty(len(text) + 1, np.uint8)
        cursor = np.array([0, 0, ord(self._rows.dialect.delimiter), 0])
        characters = np.frombuffer(text, np.uint8)
        table_rows.serial(characters, plan.places, _powers(), _MARKS, X, kinds, copied, cursor)
        if cursor[POSITION] < len(text):
            return None
        columns = {}
        for name, values, kind in zip(plan.numbers, X[:, : cursor[ROW]], kinds, strict=True):
            columns[name] = values.astype(np.int64) if kind == HAS_WHOLE else values
        rest = copied[: cursor[LENGTH]].tobytes()
        if not rest.strip(b" \n"):  # in which pandas sees no column
            missing = pandas.Series(np.full(cursor[ROW], np.nan))
            columns |= dict.fromkeys(plan.others, missing)
        else:
            options = {"names": plan.others, "usecols": plan.others, "skip_blank_lines": False}
            columns |= dict(self._parse_block(rest, **options).items())
        return columns


@cache
def _powers():
    return powers_of_ten()


def _texts_of(rows):
    """Texts of rows, many at a time. `rows` is empty at the end, as they take memory twice."""
    rows.reverse()
    while rows:
        taken: list[bytes] = []
        n_bytes = 0
        while rows and n_bytes < _SAMPLE_BYTES:
            row = rows.pop()
            taken.append(row if row.endswith((b"\n", b"\r")) else row + b"\n")
            n_bytes += len(row)
        yield b"".join(taken)


def _joined(parts, targets):
    """A data frame of columns of blocks, None if these disagree on what a column holds.

    So do booleans in a target, where their spelling counts.
    """
    import pandas

    columns = {}
    for name in parts[0]:
        pieces = [part[name] for part in parts]
        kinds = [_kind_of(piece) for piece in pieces]
        different = set(kinds) - {"missing"}
        if len(different) > 1 or (name in targets and different == {"boolean"}):
            return None
        if different == {"text"}:
            dtype = pieces[kinds.index("text")].dtype
            pieces = [piece.astype(dtype) for piece in pieces]
        elif different == {"boolean"} and any(piece.dtype != bool for piece in pieces):
            pieces = [piece.astype(object) for piece in pieces]
        if different <= {"number"}:
            columns[name] = np.concatenate(list(map(np.asarray, pieces)))
        else:
            columns[name] = pandas.concat(pieces, ignore_index=True)
    return pandas.DataFrame(columns, copy=False)


def _kind_of(column):
    """What a column of a part of a file holds."""
    import pandas

    kind = column.dtype.kind
    if kind == "f" and np.isnan(column).all():
        return "missing"
    if kind in "if":
        return "number"
    if kind == "u":  # beyond int64, with which it has no common dtype of integers
        return "large integer"
    is_boolean = kind == "b" or pandas.api.types.infer_dtype(column, skipna=True) == "boolean"
    return "boolean" if is_boolean else "text"


def _check_columns(names, source, target, left_out, wanted):
    if wanted is not None:
        find_columns(source, names, wanted)
    elif all(map(_is_number, names)):
        raise ValueError(
            f"{source} has numbers in place of a header; it must have one that names the columns"
        )
    used = set(names) if wanted is None else {*wanted, target}
    repeated = [name for name, count in Counter(names).items() if count > 1 and name in used]
    if repeated:
        raise ValueError(
            f"{source} must name each of its columns once, got {listing(repeated)} more than once"
        )
    if target is not None and target not in names:
        raise ValueError(
            f"target {target!r} is not a column of {source}; its columns are {listing(names)}"
        )
    unknown = [name for name in left_out if name not in names]
    if unknown:
        raise ValueError(
            f"{source} has no column {listing(unknown)} to leave out; its columns are "
            f"{listing(names)}"
        )
    if not set(names) - {target, *left_out}:
        raise ValueError(f"{source} has no column but the target {target!r}; features are needed")


def _is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def _written_target(cells, decimal, is_text):
    """A target of texts as numbers, if all of them are such or missing, unless it `is_text`."""
    import pandas

    if cells.dtype.kind in "iuf" or cells.isna().all():
        return cells.astype(float)
    cells = cells.str.strip()
    cells = cells.mask(cells == "")
    missing = cells.isin(MISSING)
    written = cells.mask(missing)
    if decimal != ".":
        written = written.str.replace(decimal, ".", regex=False)
    numbers = pandas.to_numeric(written, errors="coerce").astype(float)
    if not is_text and (numbers.isna() == written.isna()).all():
        return numbers
    return cells.mask(missing & (cells != _CLASS))


def _plain_target(values, is_text):
    """A target of any dtype as numbers or as texts, which it always is if it `is_text`."""
    import pandas

    is_number = pandas.api.types.is_numeric_dtype(values.dtype)
    if is_number and not is_text and not pandas.api.types.is_bool_dtype(values.dtype):
        return values.astype(float)
    return values.astype(object).map(str, na_action="ignore")


def _with_dates(features, source, reading):
    """Columns with the dates among them as such, and the formats of these."""
    import pandas

    formats, dates = {}, {}
    for name in features.columns:
        column, where = features[name], f"column {name!r} of {source}"
        if column.dtype.kind in "biufM":
            continue
        there = column.dropna()
        is_text = len(there) > 0 and pandas.api.types.is_string_dtype(there)
        if not is_text or name in reading.texts:
            continue
        written = reading.dates.get(name)
        if written is None and (reading.finds_dates or name in reading.dates):
            written = find_format(column, where)
        if written is not None:
            formats[name] = written
            dates[name] = parse(column, written, where)
    return features.assign(**dates), formats
