"""The rules that hold the rooms of the project apart, checked on the sources."""

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
KERNELS = sorted((ROOT / "kernels").rglob("*.py"))
PACKAGE = sorted((ROOT / "fastmlp").rglob("*.py"))
JIT_ROOM = ROOT / "kernels" / "_jit"
REFERENCE = ROOT / "tests" / "reference.py"

# Rooms of fastmlp and which others each may import, besides kernels and tools. A tool is a room
# not listed that itself imports only those. Others not listed (the top: __init__, cli, compare,
# ...) may import any, and no listed room may import them. Imports inside functions are imports.
PARAMETERS = {"network", "optimizers", "result"}
ROOMS = {
    **{room: PARAMETERS for room in PARAMETERS},
    "monitor": {"result"},
    "objective": PARAMETERS,
    "solvers": {"optimizers", "result", "solvers"},
    "functions": {*PARAMETERS, "objective", "solvers"},
    "running": {*PARAMETERS, "functions", "monitor", "objective", "solvers"},
    "training": {
        *PARAMETERS,
        "functions",
        "monitor",
        "objective",
        "running",
        "solvers",
    },
    "many": {*PARAMETERS, "monitor", "objective", "training"},
    "fitting": {"many", "training"},
    "mlp": {*PARAMETERS, "fitting", "objective"},
}


def relative(path):
    return str(path.relative_to(ROOT))


@functools.cache
def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), relative(path))


def imported_modules(node, within_functions=True):
    """Dotted names of what a tree imports; ``from a import b`` gives ``a.b``.

    What stands under ``if TYPE_CHECKING:`` never runs, so it is no import.
    """
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"line {child.lineno}: imports are absolute here"
            yield from (f"{child.module}.{alias.name}" for alias in child.names)
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        elif within_functions or not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from imported_modules(child, within_functions)


def is_standard_library(module):
    return module.partition(".")[0] in sys.stdlib_module_names


def room_of(path):
    return path.relative_to(ROOT / "fastmlp").with_suffix("").parts[0]


def relative_ids(paths):
    return {"argvalues": paths, "ids": [relative(path) for path in paths]}


# Twins


def kernels_in(path):
    """Names of the public kernels of a file: what is compiled, or made of LLVM instructions.

    A `worker` is not counted apart from the driver that runs it.
    """
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            for decorator in map(ast.unparse, node.decorator_list):
                if decorator in {"inline", "part", "loop", "scalar", "entry", "intrinsic"}:
                    yield node.name


# How kernels are called, see memory, wait for each other, set up the processor and tell the time:
# nothing that NumPy could compute.
MACHINERY = {
    *("view", "views", "blocks", "context", "layers", "team", "denormals", "place", "clock"),
}
ALL_KERNELS = [
    f"{path.stem}.{name}"
    for path in KERNELS
    if path.parent != JIT_ROOM and path.stem not in MACHINERY
    for name in kernels_in(path)
]


def test_the_walk_finds_kernels_of_every_kind():
    assert {"epoch.sweep", "gemm.multiply", "simd.tile", "elementwise.exp"} <= set(ALL_KERNELS)


@functools.cache
def defined_in(path):
    """Names that a file gives to functions and values."""
    defined = set()
    for node in parse(path).body:
        if isinstance(node, ast.FunctionDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign):
            defined.update(ast.unparse(target) for target in node.targets)
    return defined


@pytest.mark.parametrize("kernel", ALL_KERNELS)
def test_every_kernel_has_a_twin_in_the_reference(kernel):
    name = kernel.partition(".")[2]
    defined = defined_in(REFERENCE)
    assert name in defined, f"tests/reference.py has no NumPy twin of kernels/{kernel}"


# Arguments

MOST_PARAMETERS = 8
# The register tile's room: LLVM's instructions know no tuples.
INSTRUCTIONS = {"simd"}


def parameters_of(function):
    arguments = function.args
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


@pytest.mark.parametrize("path", **relative_ids(KERNELS))
def test_a_kernel_has_a_handful_of_parameters(path):
    """Nobody can hold more; what goes through several kernels is a named tuple, see `context`."""
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.FunctionDef) and path.stem not in INSTRUCTIONS:
            n = len(parameters_of(node))
            assert n <= MOST_PARAMETERS, f"{node.name} has {n} parameters"


# Compilation


@pytest.mark.parametrize("path", **relative_ids(KERNELS + PACKAGE))
def test_only_the_jit_room_compiles(path):
    compilers = {"jit", "njit", "generated_jit", "vectorize", "guvectorize", "cfunc", "stencil"}
    if path.parent == JIT_ROOM:
        return
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in {"numba", "nb"}:
            assert node.attr not in compilers, f"{relative(path)}:{node.lineno}"
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "numba":
            names = {alias.name for alias in node.names}
            assert not names & compilers, f"{relative(path)}:{node.lineno}"


# Imports


@pytest.mark.parametrize("path", **relative_ids(KERNELS))
def test_kernels_import_numpy_the_compiler_and_each_other_only(path):
    for module in imported_modules(parse(path)):
        allowed = module.partition(".")[0] in {"numpy", "numba", "llvmlite"}
        sibling = module.startswith("fastmlp.kernels.")
        assert allowed or sibling or is_standard_library(module), module


def imported_rooms(path):
    for module in imported_modules(parse(path)):
        top, _, rest = module.partition(".")
        if top == "fastmlp":
            yield rest.partition(".")[0]


@functools.cache
def tools():
    """Rooms that import nothing of fastmlp but kernels and each other."""
    imports: dict = {}
    for path in PACKAGE:
        room = room_of(path)
        if room not in ROOMS:
            imports.setdefault(room, set()).update(set(imported_rooms(path)) - {"kernels", room})
    found = set()
    while more := {room for room in imports if imports[room] <= found} - found:
        found |= more
    return found


def test_the_walk_tells_tools_from_the_top():
    assert "validation" in tools()
    assert not tools() & {"__init__", "cli", "compare"}


@pytest.mark.parametrize("path", **relative_ids(PACKAGE))
def test_rooms_import_only_the_rooms_below_them(path):
    room = room_of(path)
    if room in ROOMS:
        assert set(imported_rooms(path)) <= ROOMS[room] | tools() | {"kernels"}


def modules_of(folder, package):
    """Files of a package by dotted name; a folder is its ``__init__``."""
    modules = {}
    for path in sorted(folder.rglob("*.py")):
        parts = [package, *path.relative_to(folder).with_suffix("").parts]
        modules[".".join(parts).removesuffix(".__init__")] = path
    return modules


def import_graph(modules):
    """Which of the modules each one names in an import, wherever in its file that stands."""
    graph = {}
    for module, path in modules.items():
        graph[module] = set()
        for name in imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
            while name and name not in modules:
                name = name.rpartition(".")[0]  # of what is defined there, the module
            graph[module] |= {name} - {"", module}
    return graph


def rings(graph):
    """Sets of two or more modules of which each comes to all others by imports."""

    def reachable(start):
        found, waiting = set(), [start]
        while waiting:
            more = graph[waiting.pop()] - found
            found |= more
            waiting += more
        return found

    beyond = {module: reachable(module) for module in graph}
    return {
        frozenset(other for other in beyond[module] if module in beyond[other])
        for module in graph
        if module in beyond[module]
    }


def whole_graph():
    return import_graph(
        modules_of(ROOT / "fastmlp", "fastmlp") | modules_of(ROOT / "kernels", "fastmlp.kernels")
    )


def test_no_files_import_each_other_in_a_ring():
    assert not rings(whole_graph())


def test_no_file_imports_the_package_itself():
    """Its ``__init__`` loads modules by name, which the walk does not see: that could be a ring."""
    graph = whole_graph()
    assert not [module for module in graph if "fastmlp" in graph[module]]


def test_a_ring_is_found_wherever_its_imports_stand(tmp_path):
    files = {
        "__init__": "from planted.top import go",
        "top": "import planted.middle\n\ndef go():\n    pass",
        "middle": "class A:\n    def f(self):\n        from planted.rooms.low import g",
        "rooms/__init__": "",
        "rooms/low": "def g():\n    if g:\n        from planted import top",
        "aside": "if TYPE_CHECKING:\n    from planted.lone import Lone\nfrom planted import top",
        "lone": "from planted.aside import top\n\nclass Lone:\n    pass",
    }
    for name, text in files.items():
        path = tmp_path / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    graph = import_graph(modules_of(tmp_path, "planted"))
    assert rings(graph) == {frozenset({"planted.top", "planted.middle", "planted.rooms.low"})}
    graph["planted.middle"].clear()
    assert not rings(graph)


@pytest.mark.parametrize("room", sorted(PARAMETERS))
def test_parameters_know_the_codes_and_records_of_the_kernels_only(room):
    for module in imported_modules(parse(ROOT / "fastmlp" / f"{room}.py")):
        if module.startswith("fastmlp.kernels"):
            assert module.startswith(("fastmlp.kernels.codes", "fastmlp.kernels.records"))


@pytest.mark.parametrize("path", **relative_ids(PACKAGE))
def test_modules_import_no_package_but_numpy_and_numba_at_their_top(path):
    third_party = {"numpy"} if room_of(path) in PARAMETERS else {"numpy", "numba"}
    if room_of(path) == "sklearn":  # which nobody imports but for its sake
        third_party = {"numpy", "scipy", "sklearn"}
    if room_of(path) == "dask":  # which nobody imports either
        third_party = {"numpy", "sklearn", "dask", "distributed"}
    if room_of(path) == "figure":  # whose class needs its base
        third_party = {"matplotlib"}
    for module in imported_modules(parse(path), within_functions=False):
        top = module.partition(".")[0]
        assert top in third_party | {"fastmlp"} or is_standard_library(module), module


def test_the_reference_imports_numpy_only():
    for module in imported_modules(parse(REFERENCE)):
        assert module.partition(".")[0] == "numpy" or is_standard_library(module), module


def test_importing_fastmlp_loads_no_heavy_package():
    """What an environment loads by itself, or numba loads, is not counted."""
    code = (
        "import json, sys, numba; before = set(sys.modules); import fastmlp; "
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(json.loads(run.stdout.splitlines()[-1]))
    loaded = {module.partition(".")[0] for module in modules}
    assert "fastmlp" in loaded
    assert not {"fastmlp.solvers", "fastmlp.contests", "fastmlp.datasets"} & modules
    heavy = {"scipy", "sklearn", "matplotlib", "pandas", "dask", "tqdm", "safetensors"}
    assert not loaded & heavy


# Their description


def test_the_plan_of_the_house_names_every_file_once():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `([\w/]+\.py)` \| \S", text, re.M)
    assert sorted(named) == sorted(relative(path) for path in KERNELS + PACKAGE)


# Names


def test_no_file_is_a_room_for_everything():
    sources = KERNELS + PACKAGE + sorted((ROOT / "tests").rglob("*.py"))
    vague = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [relative(path) for path in sources if path.stem.strip("_") in vague]
