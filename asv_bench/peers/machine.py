"""What the figures are measured on."""

import importlib.metadata
import os
import platform
from contextlib import suppress

from asv_bench.benchmarks import mnist
from asv_bench.peers.libraries import LIBRARIES

# The first that the CPU has is named.
VECTOR_EXTENSIONS = ("avx512f", "avx2", "avx", "sve", "neon")


def inspect():
    """CPU, its vector extension, cores and versions, and whether MNIST is here, as a dict."""
    import llvmlite.binding

    import fastmlp

    features = llvmlite.binding.get_host_cpu_features()
    distributions = dict.fromkeys(library.distribution for library in LIBRARIES.values())
    versions = {"fastmlp": fastmlp.__version__}
    for distribution in [*distributions, "optax", "numpy", "numba", "scipy"]:
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.setdefault(distribution, importlib.metadata.version(distribution))
    return {
        "cpu": cpu_name(),
        "vector_extension": next((x for x in VECTOR_EXTENSIONS if features.get(x)), None),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
        "mnist": mnist.reason_to_skip() is None,
    }


def cpu_name():
    """The CPU's model, as lscpu has it from the same file."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def describe(machine):
    """The machine and the versions in a sentence."""
    extension = machine["vector_extension"]
    versions = {"python": machine["python"], **machine["versions"]}
    titles = {library.distribution: library.title for library in reversed(LIBRARIES.values())}
    titles |= {"python": "Python", "numpy": "NumPy", "numba": "Numba", "scipy": "SciPy"}
    images = "MNIST's" if machine["mnist"] else "random pixels, as FASTMLP_MNIST names no folder"
    return (
        f"{machine['cpu']}{f' ({extension})' if extension else ''}, {machine['cores']} cores; "
        + ", ".join(f"{titles.get(name, name)} {version}" for name, version in versions.items())
        + f"; images: {images}"
    )
