"""How many threads a kernel gets, and when its serial twin has to run instead.

Numba's thread teams have sharp edges: the workqueue layer aborts the process when two Python
threads enter it at once, GNU OpenMP kills a forked child that uses it again, and a region costs
microseconds to launch. `parallel_region` keeps clear of the first two, `choose_parts` of the
third. Since the number of parts changes no bit of a result, which twin ran is a matter of time.
"""

import functools
import os
import sys
import threading
import time
from contextlib import contextmanager

import numba
import numpy as np

from fastmlp.kernels._jit import entry, prange
from fastmlp.kernels.cgroups import OWN, ROOT, cgroups

# A phase should be worth some barriers, each a few hundred nanoseconds among neighbours.
BARRIER_SECONDS = 1e-6

# A part of a region of its own should be worth launching the region and waking a thread.
REGION_SECONDS = 2e-5

# And where nobody measures whether a team is the faster way, so much that it does little harm on
# a busy machine, where waking a thread may take milliseconds.
BUSY_REGION_SECONDS = 2e-4

# What one core does on small products, for judging whether a phase is worth a barrier.
SERIAL_FLOPS_PER_SECOND = 1e11

# After a team that was not complete, which costs some 20 ms to find out, none is tried for so long.
SECONDS_ALONE = 10.0

_region = threading.Lock()
_state = {"used": False, "forked": False, "alone_until": 0.0}


def _after_fork():
    global _region
    _region = threading.Lock()
    # Numba may have started its threads for another than us, such as a kernel of the user's.
    _state["forked"] = _state["used"] or getattr(
        sys.modules.get("numba.np.ufunc.parallel"), "_is_initialized", True
    )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def available_cores():
    """Cores this process may use: its affinity, cut to the cgroup's CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = _cgroup_quota()
    if quota is not None:
        cores = min(cores, max(1, int(quota)))
    return max(1, cores or 1)


@functools.cache
def _cgroup_quota(root=ROOT, own=OWN):
    """CPUs that the process's cgroup and those above it grant, None where none has a limit.

    Read once in a process: reading takes as long as evaluating a small network.
    """
    quotas = map(_quota_of, cgroups("cpu", root, own))
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota_of(folder):
    """CPUs that a cgroup grants, in version 2 or 1; None without a limit of its own."""
    try:
        quota, period = (folder / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            quota = (folder / "cpu.cfs_quota_us").read_text().strip()
            period = (folder / "cpu.cfs_period_us").read_text().strip()
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


def choose_parts(flops, n_threads, seconds_each=BARRIER_SECONDS):
    """Parts to share a phase of `flops` floating-point operations out to.

    As many as `n_threads`, where it is given, and Numba's thread team allow, be there cores for
    them or not; else as many of the available cores as have `seconds_each` of work or more.
    """
    if numba.config.DISABLE_JIT or _state["forked"]:
        return 1
    if n_threads is not None:
        return min(n_threads, numba.config.NUMBA_NUM_THREADS)
    by_work = int(flops / SERIAL_FLOPS_PER_SECOND / seconds_each)
    if by_work <= 1:
        return 1
    return min(by_work, available_cores(), numba.config.NUMBA_NUM_THREADS)


@contextmanager
def parallel_region(n_parts):
    """Hold the process's one place for a parallel region of `n_parts` threads.

    Yields whether it was free and regions are safe; if not, run the serial kernel.
    """
    barred = n_parts == 1 or _state["forked"] or time.monotonic() < _state["alone_until"]
    if barred or not _region.acquire(blocking=False):
        yield False
        return
    try:
        _state["used"] = True
        before = numba.get_num_threads()
        numba.set_num_threads(n_parts)
        try:
            yield True
        finally:
            numba.set_num_threads(before)
    finally:
        _region.release()


def no_teams():
    """Bar parallel regions for a while: not every part was given a thread.

    The threading layer may never give one, or the machine may just have been busy.
    """
    _state["alone_until"] = time.monotonic() + SECONDS_ALONE


def run(twin, n_parts, *arguments):
    """Call a twin whose `prange` takes any number of threads, in parallel if that is safe."""
    if n_parts == 1:
        return twin.serial(*arguments)
    with parallel_region(min(n_parts, numba.config.NUMBA_NUM_THREADS)) as entered:
        kernel = twin.parallel if entered else twin.serial
        return kernel(*arguments)


@entry
def touch(marks):
    """Overwrite `marks` by ones, in a parallel region: what is left of a region without work."""
    for i in prange(marks.size):
        marks[i] = 1


def launch_seconds(n_threads, n_launches=200):
    """Measure the time of one parallel region that has nothing to do, the least of many."""
    marks = np.zeros(n_threads, np.int64)
    run(touch, n_threads, marks)
    fastest = np.inf
    for _ in range(n_launches):
        began = time.perf_counter()
        run(touch, n_threads, marks)
        fastest = min(fastest, time.perf_counter() - began)
    return fastest
