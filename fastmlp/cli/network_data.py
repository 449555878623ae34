"""Numbers of a file as a plain network takes them."""

from contextlib import contextmanager

from fastmlp.cli.options import MOST_CLASSES
from fastmlp.cli.streams import is_large, is_parquet, opened

# Rows of a file that are held out together: single ones would have all of it read.
_HELD_OUT_TOGETHER = 128

# Rows of a file that are looked at for digits that are lost.
_ROWS_LOOKED_AT = 1 << 16


def read_numbers(data, target):
    """X, y and the names of the columns of a file; X are `Rows` of one that is large or Parquet."""
    from fastmlp import datasets
    from fastmlp.sources.csv_file import open_csv
    from fastmlp.sources.parquet_file import open_parquet

    if is_parquet(data):
        return open_parquet(data, target)
    return open_csv(data, target) if is_large(data) else datasets.load_csv(opened(data), target)


def take_rows(X, rows, dtype):
    """Some rows, which are ascending, of an array, or of `Rows` without reading them."""
    import numpy as np

    from fastmlp.sources.source import Selected, source_of

    return X[rows] if isinstance(X, np.ndarray) else Selected(source_of(X, dtype), rows)


def split_rows(X, fraction, seed):
    """Row numbers to train on and to hold out: single ones, or blocks of `Rows`."""
    import numpy as np

    if isinstance(X, np.ndarray):
        return _split(len(X), fraction, seed)
    n_blocks = -(-len(X) // _HELD_OUT_TOGETHER)
    _, blocks = _split(n_blocks, fraction, seed)
    held_out = np.zeros(n_blocks, bool)
    held_out[blocks] = True
    by_row = np.repeat(held_out, _HELD_OUT_TOGETHER)[: len(X)]
    return np.flatnonzero(~by_row), np.flatnonzero(by_row)


def _split(n_rows, fraction, seed):
    from fastmlp.validation import as_generator

    if not 0 <= fraction < 1:
        raise ValueError(f"--validation-fraction must be in [0, 1), got {fraction}")
    rng = as_generator(seed, "--seed", "an integer from 0 up")
    n_held_out = round(n_rows * fraction)
    if n_held_out == n_rows or (fraction > 0 and n_held_out == 0):
        raise ValueError(
            "--validation-fraction must leave rows on both sides, or be 0, got "
            f"{fraction} with {n_rows} rows"
        )
    order = rng.permutation(n_rows)
    return order[n_held_out:], order[:n_held_out]


def describe_task(n_classes):
    return f"classification, {n_classes} classes" if n_classes else "regression"


def count_classes(y, task, option):
    """Number of classes of a target, 0 for regression; `option` is how it was named."""
    import numpy as np

    if task == "regression":
        return 0
    values = np.unique(y)
    whole = np.array_equal(values, np.trunc(values))  # 1.0 as well as 1
    if task == "auto" and not (whole and values.size <= MOST_CLASSES):
        return 0
    if whole and values.size > 1 and values[0] == 0 and values[-1] == values.size - 1:
        return values.size
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
    other = ", or say --task regression" if task == "auto" else ""
    raise ValueError(
        f"{option} must hold classes numbered 0, 1, 2, ... without gaps, two at least, "
        f"got {shown}: renumber them in the file{other}"
    )


def rounded_rows(X, features, y, target, dtype):
    """X and y, which may be None, in the network's dtype; warn of digits it has no room for.

    `Rows` stay what they are.
    """
    import numpy as np

    from fastmlp.rounding import warn_of_merged

    dtype = np.dtype(dtype)
    is_array = isinstance(X, np.ndarray)
    warn_of_merged(dtype, X if is_array else X[:_ROWS_LOOKED_AT], y, features, target)
    X = _rounded(X, features, dtype) if is_array else X
    return X, None if y is None else _rounded(y[:, None], [target], dtype)[:, 0]


def _rounded(table, names, dtype):
    import numpy as np

    from fastmlp.validation import rounded

    most = np.finfo(dtype).max
    largest = np.maximum(table.max(axis=0), -table.min(axis=0))
    if largest.max() > most:
        name = names[int(largest.argmax())]
        raise ValueError(
            f"column {name!r} must hold numbers up to {most:.3g}, as {dtype} does, got "
            f"{largest.max():.3g}"
        )
    return rounded(table, dtype)


@contextmanager
def reading_blocks(net, data, target):
    """Open a file for a network; yield an iterator of X and y of some rows, one after the other.

    The columns are as the network has them. Without a target, y is None.
    """
    from fastmlp.datasets.csv_table import reading_csv
    from fastmlp.sources.parquet_file import reading_parquet

    reading = reading_parquet if is_parquet(data) else reading_csv
    with reading(opened(data), target, net.feature_names) as (features, blocks):
        n_inputs = net.layer_sizes[0]
        if len(features) != n_inputs:
            hint = "; name the target column with --target" if len(features) == n_inputs + 1 else ""
            raise ValueError(
                f"DATA must have {n_inputs} feature columns, one for each input of MODEL, got "
                f"{len(features)}{hint}"
            )
        yield _rounded_blocks(blocks, features, target, net.dtype)


def _rounded_blocks(blocks, features, target, dtype):
    from fastmlp.rounding import warn_of_merged

    is_first = True
    for X, y in blocks:
        y = None if target is None else y
        if is_first:
            warn_of_merged(dtype, X, y, features, target)
            is_first = False
        X = _rounded(X, features, dtype)
        yield X, None if y is None else _rounded(y[:, None], [target], dtype)[:, 0]


class Scores:
    """How well a network predicts the rows of a file, which come block by block."""

    def __init__(self, net, n_threads):
        self._net, self._n_threads = net, n_threads
        self._n_rows = self._loss = self._measure = 0
        self._name = None

    def add(self, X, y):
        from fastmlp.scoring import score

        n = len(X)
        self._loss += n * self._net.loss(X, y, n_threads=self._n_threads)
        self._name, value = score(self._net, X, y, n_threads=self._n_threads)
        self._measure += n * (value**2 if self._is_root else value)
        self._n_rows += n

    @property
    def _is_root(self):
        return self._name == "rms error"

    def __str__(self):
        value = self._measure / self._n_rows
        return (
            f"loss {self._loss / self._n_rows:.6g}, {self._name} "
            f"{value**0.5 if self._is_root else value:.6g} on {self._n_rows} rows"
        )
