"""fastmlp info: what fastmlp runs on."""

import os
import platform
from importlib import metadata

from fastmlp.cli.console import DONE


def add_parser(commands):
    parser = commands.add_parser(
        "info",
        help="show versions, cores, threads, vector width and where compiled kernels are",
        description="Show what fastmlp runs on here: what to look at, and to quote, if it is "
        "slow or fails.",
        epilog="example:\n  fastmlp info",
    )
    parser.set_defaults(run=_info)


def _info(arguments):
    import numba

    from fastmlp.kernels import simd, threads
    from fastmlp.version import __version__

    cores = threads.available_cores()
    launch = ""
    if cores > 1:
        seconds = threads.launch_seconds(cores)
        launch = f", {seconds * 1e6:.1f} us to launch a parallel region on {cores} threads"
    tiles = ", ".join(map(str, simd.TILE_ROWS))
    lines = {
        "fastmlp": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "numpy": metadata.version("numpy"),
        "numba": numba.__version__,
        "llvmlite": metadata.version("llvmlite"),
        "scipy": metadata.version("scipy"),
        "cores": f"{cores} of {os.cpu_count()}",
        "threads": threads.threading_layer() + launch,
        "vectors": f"{simd.VECTOR_BYTES * 8} bits, tiles of {tiles} rows",
        "fma": "yes" if simd.HAS_FMA else "no: the C library's, some 40 times slower",
        "prebuilt": _describe_prebuilt(),
        "cache": _describe_cache(),
    }
    for name, value in lines.items():
        print(f"{name:10}{value}")
    return DONE


def _describe_cache():
    from fastmlp.kernels._jit import cache_directory

    folder = cache_directory()
    if folder is None:
        return "none, no folder can be made that is out of other users' reach"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = "writable" if os.access(existing, os.W_OK | os.X_OK) else "not writable"
    if not folder.is_dir():
        return f"{folder}, not made yet, {writable}"
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return f"{folder}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, {writable}"


def _describe_prebuilt():
    from fastmlp.kernels._jit import prebuilt

    folder = prebuilt.directory()
    return "none that fits" if folder is None else str(folder)
