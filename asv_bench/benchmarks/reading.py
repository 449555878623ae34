"""Time to read a CSV file, as a ratio to that of pandas' ``read_csv`` in the same run.

Without asv: ``python -m asv_bench.benchmarks.reading`` prints a table of files of 5 million rows.
"""

import tempfile
import time
from pathlib import Path

import numpy as np

from fastmlp.datasets import load_csv
from fastmlp.sources.csv_file import open_csv
from fastmlp.tabular.reading import read_table

N_COLUMNS = 20
# Rows whose text a file repeats.
_DIFFERENT_ROWS = 50_000


def write_file(path, kind, n_rows):
    """Write a table of numbers with four decimals, or all digits, or with texts among them."""
    import pandas

    rng = np.random.default_rng(0)
    X = rng.normal(size=(_DIFFERENT_ROWS, N_COLUMNS))
    frame = pandas.DataFrame(X if kind == "all digits" else X.round(4)).add_prefix("x")
    if kind == "texts":
        for column in ("x3", "x6", "x9"):
            frame[column] = rng.choice(["red", "green", "a longer text"], len(frame))
    header, text = frame.to_csv(index=False).split("\n", 1)
    with open(path, "w", encoding="utf-8") as file:
        file.write(header + "\n")
        for _ in range(n_rows // _DIFFERENT_ROWS):
            file.write(text)


def _open(path):
    for old in path.parent.glob("*.rows"):
        old.unlink()
    open_csv(path, "x19")


READERS = {
    "load_csv": lambda path: load_csv(path, "x19"),
    "open_csv": _open,
    "read_table": lambda path: read_table(path, "x19"),
}
KINDS = ("four decimals", "all digits", "texts")


def readers_of(kind):
    return ["read_table"] if kind == "texts" else list(READERS)


def ratios(path, names, rounds=5):
    """Least seconds of pandas, and for each reader the least of its seconds over those."""
    import pandas

    seconds = {"pandas": []} | {name: [] for name in names}
    for _ in range(rounds):
        for name, taken in seconds.items():
            start = time.perf_counter()
            pandas.read_csv(path) if name == "pandas" else READERS[name](path)
            taken.append(time.perf_counter() - start)
    least = {name: min(taken) for name, taken in seconds.items()}
    return least["pandas"], {name: least[name] / least["pandas"] for name in names}


class Reading:
    """Of 200,000 rows."""

    params = (KINDS, list(READERS))
    param_names = ("kind", "reader")
    timeout = 300
    unit = "times pandas"

    def setup(self, kind, reader):
        if reader not in readers_of(kind):
            raise NotImplementedError  # no columns of numbers
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "table.csv"
        write_file(self.path, kind, 200_000)
        READERS[reader](self.path)  # compiles

    def teardown(self, kind, reader):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def track_ratio(self, kind, reader):
        return ratios(self.path, [reader])[1][reader]


def main(n_rows=5_000_000, rounds=3):
    """Print the table."""
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "table.csv"
            write_file(path, kind, n_rows)
            seconds, found = ratios(path, readers_of(kind), rounds)
            shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in found.items())
            print(f"{kind}: {path.stat().st_size / 1e6:.0f} MB, pandas {seconds:.2f} s, {shown}")


if __name__ == "__main__":
    main()
