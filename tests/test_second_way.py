"""Another version of Numba: what happens where its inside is not what the first way stands on.

Each simulation is a process of its own, in which something of Numba is missing or has changed
before fastmlp is imported. It does some work, whose bits must be those of this process: the fit of
a network, once for each way and each cache; elsewhere a descent, which compiles few kernels.
"""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numba
import numpy as np
import pytest
from marks import compiled_only

from fastmlp import MLP, minimize
from fastmlp.kernels._jit import ways

pytestmark = compiled_only

ROOT = Path(__file__).parents[1]
KERNELS = ROOT / "kernels"

# What Numba documents for extensions; all else may change from one version to the next. Views need
# attributes of types, which the documented `infer_getattr` takes in these templates alone.
DOCUMENTED = {"numba", "numba.core", "numba.core.types", "numba.extending"}
TEMPLATES = "numba.core.typing.templates"


def fit(n_threads=1, n_hidden=5):
    """Bits of a network after a fit, and of its outputs."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 40)), rng.normal(size=400)
    net = MLP([40, n_hidden, n_hidden, 1], seed=1)
    net.fit(X, y, epochs=3, batch_size=100, n_threads=n_threads, seed=2)
    return (net.theta.tobytes() + net.predict(X, n_threads=n_threads).tobytes()).hex()


def descend():
    """Bits of the end of a descent, by an entry to kernels and a worker."""
    return minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam").theta.tobytes().hex()


# What a process does after something has changed for it.
FIT = f"""
import json
import numpy as np
from fastmlp import MLP, minimize
from fastmlp.kernels._jit import ways

{inspect.getsource(fit)}
{inspect.getsource(descend)}
used = [module.__name__.rpartition(".")[2] for module in (ways.way, ways.cache)]
"""

# Fastmlp finds that a module of Numba's has no such name; Numba finds it.
WITHOUT = """
import builtins

find = builtins.__import__

def refuse(name, globals=None, locals=None, fromlist=(), level=0):
    importer = (globals or {{}}).get("__name__", "")
    if importer.startswith("fastmlp") and name == {module!r} and {name!r} in (fromlist or ()):
        raise ImportError("cannot import name {name!r} from {module!r}")
    return find(name, globals, locals, fromlist, level)

builtins.__import__ = refuse
"""


def private_imports():
    """Pairs of module and name, of all that kernels import from the inside of Numba."""
    found = set()
    for path in KERNELS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "numba":
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    is_documented = node.module in DOCUMENTED and whole != "numba.core.caching"
                    if not is_documented and node.module != TEMPLATES:
                        found.add((node.module, alias.name))
    return sorted(found | {("numba.core", "caching")})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A cache of their own for these processes, which the first of each kind fills."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def expected():
    return fit()


def run(before, folder, bits):
    """Fit in a new process; return the bits, the way and the cache, and its lines of stderr.

    Which way it takes is decided when fastmlp is imported: as the `bits`, "None" fits nothing.
    """
    process = subprocess.run(
        [sys.executable, "-c", before + FIT + f"print(json.dumps([{bits}, *used]))"],
        env={**os.environ, "FASTMLP_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert process.returncode == 0, process.stderr
    assert "Traceback" not in process.stderr
    lines = process.stderr.splitlines()
    said = [line for line in lines if not line.startswith("fastmlp: compiling kernels")]
    return *json.loads(process.stdout), said


def assert_warned_once(said, cost):
    warnings = [line for line in said if "Warning" in line]
    assert len(warnings) == 1, said
    (warning,) = warnings
    assert f"tested with Numba {' and '.join(ways.TESTED)}" in warning
    assert cost in warning


BY_NJIT = "compiles kernels by njit alone"
NUMBAS_CACHE = "keeps compiled kernels in Numba's own cache"


def test_the_installed_version_is_one_that_was_tested():
    assert numba.__version__ in ways.TESTED


def test_the_walk_finds_what_is_private():
    assert {("numba.core.compiler", "Flags"), ("numba.core.serialize", "dumps")} <= set(
        private_imports()
    )


@pytest.mark.parametrize(
    ("module", "name"), private_imports(), ids=[name for _, name in private_imports()]
)
def test_anything_private_may_be_missing(module, name, folder, expected):
    # One for each cache.
    call = {"caching": "fit()", "global_compiler_lock": "descend()"}.get(name, "None")
    bits, way, cache, said = run(WITHOUT.format(module=module, name=name), folder, call)
    assert bits == {"fit()": expected, "descend()": descend(), "None": None}[call]
    if module == "numba.core.compiler_lock":
        # Numba's lock gives way to one of fastmlp's, at no cost in time.
        assert (way, cache, said) == ("first_way", "cache", [])
    elif name in ("caching", "dumps"):
        assert (way, cache) == ("first_way", "numbas_cache")
        assert_warned_once(said, NUMBAS_CACHE)
    else:
        assert (way, cache) == ("second_way", "numbas_cache")
        assert_warned_once(said, BY_NJIT)
        assert f"(ImportError: cannot import name '{name}'" in said[0]


ANOTHER_VERSION = "import numba\nnumba.__version__ = {!r}\n"


def test_another_version_that_is_the_same_inside(folder):
    found = run(ANOTHER_VERSION.format("99.0"), folder, "descend()")
    assert found == (descend(), "first_way", "cache", [])


def test_an_older_version_is_not_tried(folder):
    """LLVM may end a process that hands it what it does not know."""
    _, way, _, said = run(ANOTHER_VERSION.format("0.62.1"), folder, "None")
    assert way == "second_way"
    assert_warned_once(said, BY_NJIT)


# Classes of Numba's, and a method of each that refuses fastmlp's classes after a change.
CHANGES = {
    ("numba.core.compiler", "Compiler", "define_pipelines"): BY_NJIT,
    ("numba.core.caching", "FunctionCache", "_index_key"): NUMBAS_CACHE,
    ("numba.core.caching", "CompileResultCacheImpl", "rebuild"): NUMBAS_CACHE,
}
CHANGED = """
from {module} import {owner} as owner

plain = owner.{method}

def changed(self, *arguments, **named):
    if type(self).__module__.startswith("fastmlp"):
        raise TypeError("{method}() missing 1 required positional argument: 'target'")
    return plain(self, *arguments, **named)

owner.{method} = changed
"""


@pytest.mark.parametrize(("change", "cost"), CHANGES.items(), ids=[m for _, _, m in CHANGES])
def test_a_trial_finds_what_another_version_has_changed(change, cost, folder):
    module, owner, method = change
    version = f"99.1.{method}"  # whose trial finds nothing in the cache
    program = ANOTHER_VERSION.format(version) + CHANGED.format(
        module=module, owner=owner, method=method
    )
    descends = method == "_index_key"
    bits, way, _, said = run(program, folder, "descend()" if descends else "None")
    assert bits == (descend() if descends else None)
    assert way == ("second_way" if cost is BY_NJIT else "first_way")
    assert_warned_once(said, cost)
    assert f"the installed {version} differs inside" in said[0]
    assert f"(TypeError: {method}() missing" in said[0]


def test_the_second_way_gives_the_same_bits(folder, expected):
    """In a team, compiled loops of parallel regions call workers that are callbacks for C."""
    team = {"n_threads": 2, "n_hidden": 200}
    program = WITHOUT.format(module="numba.core.compiler", name="Flags")
    bits, way, _, _ = run(program, folder, f"[fit(), fit(**{team})]")
    assert way == "second_way"
    assert bits == [expected, fit(**team)]


def test_the_requirement_is_what_was_tested():
    """Of the versions that it admits, the first and the installed one are among the tested."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (requirement,) = [each for each in project["dependencies"] if each.startswith("numba")]
    first, bound = re.fullmatch(r"numba>=([\d.]+),<([\d.]+)", requirement).groups()
    assert f"{first}.0" == ways.TESTED[0]
    major, minor = (int(part) for part in ways.TESTED[-1].split(".")[:2])
    assert bound == f"{major}.{minor + 1}"
