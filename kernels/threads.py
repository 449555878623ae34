"""How many threads a kernel gets, and when its serial twin has to run instead.

Numba's thread teams have sharp edges: the workqueue layer aborts the process when two Python
threads enter it at once, GNU OpenMP kills a forked child that uses it again, and a region costs
microseconds to launch. `run` keeps clear of all three. Since twins and shares give the same
bits, which of them ran is a matter of time only.
"""

import os
import threading
from contextlib import contextmanager
from pathlib import Path

import numba

# Cost of one parallel region; measured with two threads, the order of magnitude is what counts.
LAUNCH_SECONDS = {"omp": 5e-6, "tbb": 2e-5, "workqueue": 1e-4}

# What one core does on small products, for judging whether a region is worth its launch.
SERIAL_FLOPS_PER_SECOND = 5e10

_region = threading.Lock()
_state = {"used": False, "forked": False}


def _after_fork():
    global _region
    _region = threading.Lock()
    _state["forked"] = _state["used"]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available_cores():
    """Cores this process may use: its affinity, cut to the cgroup's CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_quota()
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    return max(1, cores or 1)


def _cgroup_quota(root=Path("/sys/fs/cgroup")):
    """CPUs that the cgroup grants (version 2, then 1), None where there is no limit."""
    try:
        quota, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (root / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu" / "cpu.cfs_period_us").read_text().strip()
        except OSError:
            return None
    try:
        return float(quota) / float(period) if float(quota) > 0 else None
    except ValueError:  # "max": no limit
        return None


def threading_layer():
    """Name of Numba's threading layer, starting it if need be."""
    numba.get_num_threads()
    return numba.threading_layer()


def choose_parts(flops, n_threads):
    """Parts to share a region of `flops` floating-point operations out to.

    `n_threads` itself where it is given; else as many of the available cores as have enough to
    do for the launch of the region to pay.
    """
    if n_threads is not None:
        return n_threads
    cores = available_cores()
    if cores == 1 or numba.config.DISABLE_JIT or _state["forked"]:
        return 1
    seconds = flops / SERIAL_FLOPS_PER_SECOND
    if seconds < 2 * min(LAUNCH_SECONDS.values()):
        return 1
    launch = LAUNCH_SECONDS.get(threading_layer(), max(LAUNCH_SECONDS.values()))
    return max(1, min(cores, int(seconds / launch)))


def run(twin, n_parts, *arguments):
    """Call the parallel kernel of `twin` if `n_parts` and circumstances allow, else the serial."""
    if n_parts == 1 or numba.config.DISABLE_JIT:
        return twin.serial(*arguments)
    with _parallel_region(n_parts) as entered:
        kernel = twin.parallel if entered else twin.serial
        return kernel(*arguments)


@contextmanager
def _parallel_region(n_parts):
    """Hold the one place for a parallel region; yield whether it was free and may be used."""
    if _state["forked"] or not _region.acquire(blocking=False):
        yield False
        return
    try:
        _state["used"] = True
        before = numba.get_num_threads()
        numba.set_num_threads(min(n_parts, numba.config.NUMBA_NUM_THREADS))
        try:
            yield True
        finally:
            numba.set_num_threads(before)
    finally:
        _region.release()
