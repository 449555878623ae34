"""Fits from a file beside fits of the same rows in memory: speed, memory, and what a disk can do.

    python -m asv_bench.streaming --gigabytes 8

writes a file of float32 rows of 200 columns, and another of uint8, and fits 200-64-1 by Adam in
mini-batches of 128. Each line is a process of its own, because the largest memory of a process
never shrinks. Rows a second are those of whole fits, checks and all; those of the last epoch stand
beside them. "Cold" has dropped the file from the system's cache before each fit, after a plain read
of it from the disk, which is what it is compared with.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

N_COLUMNS = 200
BLOCK = 1 << 22


def write(folder, gigabytes):
    """Write the rows as float32 and a quarter of the bytes as uint8; return the number of rows."""
    n_rows = int(gigabytes * 1e9 / (4 * N_COLUMNS))
    rng = np.random.default_rng(0)
    factors = rng.standard_normal(N_COLUMNS).astype("float32") / 10
    y = np.empty(n_rows, "float32")
    with open(folder / "float32", "wb") as floats, open(folder / "uint8", "wb") as small:
        for start in range(0, n_rows, 50_000):
            n = min(50_000, n_rows - start)
            X = rng.standard_normal((n, N_COLUMNS), dtype="float32")
            y[start : start + n] = np.sign(X[:, :3]).prod(axis=1) + X @ factors
            X.tofile(floats)
            np.clip(X * 16 + 128, 0, 255).astype("uint8").tofile(small)
    np.save(folder / "y.npy", y)
    os.sync()
    return n_rows


def memory(field):
    """Megabytes of this process: VmRSS now, VmHWM the most so far."""
    status = Path("/proc/self/status").read_text()
    return int(status.split(f"{field}:")[1].split()[0]) / 1024


def drop(path):
    """Drop a file from the system's cache."""
    descriptor = os.open(path, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def plain_read(path):
    """Seconds of reading a file from its first byte to its last."""
    block, began = bytearray(BLOCK), time.perf_counter()
    with open(path, "rb", buffering=0) as file:
        while file.readinto(block):
            pass
    return time.perf_counter() - began


def measure(folder, way, n_rows, epochs, n_threads):
    """One fit; returns what is to be printed of it."""
    from fastmlp import MLP

    y = np.load(folder / "y.npy")
    name = "uint8" if way.startswith("uint8") else "float32"
    path = folder / name
    # Compiles, or loads, what the fit needs.
    warm = np.random.default_rng(0).standard_normal((5000, N_COLUMNS)).astype("float32")
    MLP([N_COLUMNS, 64, 1], seed=0).fit(warm, warm[:, 0], epochs=30, n_threads=n_threads)
    found = {"way": way}
    if "cold" in way:
        drop(path)
        found["plain read, rows/s"] = n_rows / plain_read(path)
        drop(path)
    else:
        plain_read(path)
    before = memory("VmRSS")
    if "memory" in way:
        X = np.fromfile(path, name).reshape(n_rows, N_COLUMNS)
    else:
        X = np.memmap(path, name, "r", shape=(n_rows, N_COLUMNS))
    ends = [time.perf_counter()]
    options = {"callbacks": lambda _: ends.append(time.perf_counter()), "n_threads": n_threads}
    if "shuffle=False" in way:
        options["shuffle"] = False
    if "classifier" in way:
        from fastmlp import MLPClassifier

        options |= {"solver": "adam", "max_iter": epochs, "batch_size": 128, "tol": 0.0}
        model = MLPClassifier((64,), random_state=0, **options)
        y = (y > 0).astype(int)
        began = time.perf_counter()
        model.fit(X, y)
    else:
        net = MLP([N_COLUMNS, 64, 1], seed=0)
        began = time.perf_counter()
        net.fit(X, y, epochs=epochs, seed=0, **options)
    found["rows/s"] = epochs * n_rows / (time.perf_counter() - began)
    found["last epoch, rows/s"] = n_rows / (ends[-1] - ends[-2])
    found["MB above rest"] = memory("VmHWM") - before
    return found


WAYS = [
    "float32 in memory",
    "float32 file, warm",
    "float32 file, cold",
    "uint8 file, warm",
    "uint8 file, warm, classifier",
    "float32 file, cold, shuffle=False",
]


def main():
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=8, help="of the float32 file")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1, help="each line is the best of so many")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="where the files go (default: a temporary one)")
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        found = measure(given.folder, given.measure, given.rows, given.epochs, given.threads)
        print(json.dumps(found))
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        n_rows = write(Path(folder), given.gigabytes)
        lines = []
        for _ in range(given.rounds):
            lines += [_in_process(folder, way, n_rows, given) for way in given.ways]
    print(f"{n_rows:,} rows, {given.epochs} epochs, {given.threads} threads")
    for way in given.ways:
        rounds = [line for line in lines if line["way"] == way]
        best = max(rounds, key=lambda line: line["rows/s"])
        shown = ", ".join(f"{key} {value:,.0f}" for key, value in best.items() if key != "way")
        print(f"{way}: {shown}")


def _in_process(folder, way, n_rows, given):
    command = [sys.executable, "-m", "asv_bench.streaming", "--measure", way, "--folder", folder]
    command += ["--rows", str(n_rows), "--epochs", str(given.epochs)]
    command += ["--threads", str(given.threads)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(run.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
