"""How kernels are compiled: flags, twins and the disk cache. Nothing else calls numba.njit.

`inline` marks a function that other kernels call; it is compiled into each of its callers. So
are `loop`, whose loops are to be vectorized, and `scalar`, a function of numbers in such loops.
`entry` marks a driver that Python calls; it becomes a `Twin`, one source compiled on first use
as a serial and as a parallel kernel. `worker` marks the body of a driver's parallel loops; it
is compiled once, on its own, and drivers call it by its address: both twins run the same
machine code, and the large part of a network's code is compiled once instead of four times.
An `unkept_worker` is one that no file keeps.

`callables` has these; `pipeline` is the compiler that they go through, `compiling` when it runs,
`cache` and `cache_folder` where entries and workers are kept for other processes, `prebuilt` those
that come with a wheel.
"""

from fastmlp.kernels._jit import ways
from fastmlp.kernels._jit.cache_folder import cache_directory
from fastmlp.kernels._jit.callables import (
    Twin,
    Worker,
    call_worker,
    entry,
    inline,
    loop,
    named,
    part,
    scalar,
    standalone,
    unkept_worker,
    worker,
)
from fastmlp.kernels._jit.compiling import clock
from fastmlp.kernels._jit.flags import FLAGS, prange

ways.choose()

__all__ = [
    "FLAGS",
    "Twin",
    "Worker",
    "cache_directory",
    "call_worker",
    "clock",
    "entry",
    "inline",
    "loop",
    "named",
    "part",
    "prange",
    "scalar",
    "standalone",
    "unkept_worker",
    "worker",
]
