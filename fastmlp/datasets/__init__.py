"""Data sets: a small one shipped with the package, and readers for IDX and CSV files."""

from fastmlp.datasets.csv_table import load_csv
from fastmlp.datasets.digits import load_digits
from fastmlp.datasets.idx import load_idx

__all__ = ["load_csv", "load_digits", "load_idx"]


def __dir__():
    return __all__
