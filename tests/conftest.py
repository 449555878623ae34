"""Settings of a test session: every run makes the same examples, and none opens a window."""

import os
import sys
from pathlib import Path

# asv_bench is not installed; last, so that an installed fastmlp comes before the source tree's.
sys.path.append(str(Path(__file__).parents[1]))

# Teams of up to four threads, on however few cores; Numba reads this when it is imported.
os.environ.setdefault("NUMBA_NUM_THREADS", "4")

# References compute on one thread: those of BLAS, scikit-learn and torch wait busily for each
# other, which keeps other processes from their cores. Fastmlp's threads are none of these.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numba
import numpy as np
import pytest
from hypothesis import settings

from fastmlp import sweep, workspace
from fastmlp.sources import source

os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile(
    "fastmlp", derandomize=True, deadline=None, max_examples=50, database=None
)
settings.load_profile("fastmlp")


@pytest.fixture(autouse=True)
def new_sweeps():
    """No fit takes a sweep that an earlier test has left: tests change by what sweeps are made."""
    sweep.KEPT.clear()


@pytest.fixture
def overflow():
    """For tests that overflow: compiled kernels do so in silence, interpreted ones warn."""
    quiet = "ignore" if numba.config.DISABLE_JIT else None
    with np.errstate(over=quiet, invalid=quiet):
        yield


@pytest.fixture
def small_chunks(monkeypatch):
    """Stream large mini-batches through chunks of 16 rows, so that small data show it.

    Chunks of a narrow network are two groups of rows.
    """
    monkeypatch.setattr(workspace, "LARGEST_GROUPED_CHUNK", 16)
    monkeypatch.setattr(workspace, "FEWEST_GROUPED_ROWS", 16)
    monkeypatch.setattr(workspace, "GROUP_ROWS", 8)
    monkeypatch.setattr(workspace, "LARGEST_CHUNK", 16)
    monkeypatch.setattr(workspace, "SMALLEST_CHUNK", 8)


@pytest.fixture
def small_windows(monkeypatch):
    """Read everything in windows, rows of five columns as they lie in windows of 60."""
    monkeypatch.setattr(source, "WINDOW_BYTES", 0)
    monkeypatch.setattr(source, "BLOCK_BYTES", 60 * 5 * 4)
