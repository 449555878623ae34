"""What pyproject.toml cannot say: how a wheel is built that carries machine code.

Wheels are pure, unless the environment says ``FASTMLP_WHEEL_CODE=1``; see CONTRIBUTING.md.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HAS_CODE = os.environ.get("FASTMLP_WHEEL_CODE", "0") not in ("", "0")

# The levels that this processor has: name, processor and features of each.
LIST = """
import json
import llvmlite.binding
from fastmlp.kernels import simd
from fastmlp.kernels._jit.prebuilt import LEVELS, levels_of

names = levels_of(llvmlite.binding.get_process_triple(), simd.FEATURES)
print(json.dumps([(name, LEVELS[name].processor, LEVELS[name].features) for name in names]))
"""

COMPILE = """
import sys
import fastmlp
from fastmlp.kernels._jit import prebuilt

folder = fastmlp.warmup(("float32", "float64"))
prebuilt.collect(folder.glob("*.nbc"), *sys.argv[1:])
"""


class Platform(Distribution):
    """A distribution for one version of Python, one system and one kind of processor."""

    def has_ext_modules(self):
        return True


class BuildWithCode(build_py):
    """Copies the modules as ever, then puts machine code compiled from the copies beside them."""

    def run(self):
        super().run()
        if not self.editable_mode:
            self._compile()

    def _compile(self):
        if find_spec("numba") is None:
            raise SystemExit("FASTMLP_WHEEL_CODE needs Numba: build with --no-isolation")
        package = Path(self.build_lib).resolve()
        levels = json.loads(_run(LIST, package))
        if not levels:
            raise SystemExit(
                "FASTMLP_WHEEL_CODE: wheels carry code for x86-64-v3 and later, and for aarch64"
            )
        # An earlier build may have left another version's.
        shutil.rmtree(package / "fastmlp" / "kernels" / "_jit" / "code", ignore_errors=True)
        for name, processor, features in levels:
            print(f"compiling kernels for {name}", flush=True)
            with tempfile.TemporaryDirectory() as folder:
                settings = {
                    "FASTMLP_CACHE_DIR": folder,
                    "NUMBA_CPU_NAME": processor,
                    "NUMBA_CPU_FEATURES": features,
                }
                _run(COMPILE, package, name, str(package / "fastmlp"), **settings)


def _run(code, package, *arguments, **settings):
    """What Python code prints that imports the package from a folder and leaves nothing there."""
    environment = {**os.environ, "PYTHONPATH": str(package), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=environment | settings,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


setup(**{"distclass": Platform, "cmdclass": {"build_py": BuildWithCode}} if HAS_CODE else {})
