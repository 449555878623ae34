"""Machine code that came with the package: what fits, that it computes the same, what is refused.

Processes import a copy of the package, with or without the code of a descent's few kernels in it,
and descend. Each is told what processor it runs on, as Numba's settings allow.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import pytest
from marks import compiled_only

from fastmlp import minimize
from fastmlp.kernels import simd
from fastmlp.kernels._jit.prebuilt import LEVELS, levels_of

ROOT = Path(__file__).parents[1]
LINUX = "x86_64-unknown-linux-gnu"

# A desktop processor of 2013, and a server's of 2017, as LLVM writes what they have and lack.
HASWELL = (
    "+64bit,+avx,+avx2,-avx512f,-avx512vl,+bmi,+bmi2,+cx16,+f16c,+fma,+lzcnt,+movbe,+popcnt,"
    "+sahf,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
)
SKYLAKE = HASWELL.replace("-avx512", "+avx512") + ",+avx512bw,+avx512cd,+avx512dq,+clwb"


@pytest.mark.parametrize(
    ("features", "levels"),
    [
        (SKYLAKE, ["x86-64-v4", "x86-64-v3"]),
        (SKYLAKE.replace("+avx512bw", "-avx512bw"), ["x86-64-v3"]),
        (HASWELL, ["x86-64-v3"]),
        (HASWELL.replace("+fma", "-fma"), []),
        ("", []),
    ],
)
def test_a_level_needs_all_its_features(features, levels):
    assert levels_of(LINUX, features) == levels


@pytest.mark.parametrize("features", ["", "+crc,+lse,-sve", SKYLAKE])
def test_levels_are_of_one_kind_of_processors(features):
    assert levels_of("aarch64-unknown-linux-gnu", features) == ["aarch64"]
    assert levels_of("riscv64-unknown-linux-gnu", features) == []


DESCEND = """
import json
from fastmlp import minimize
from fastmlp.kernels._jit import prebuilt

theta = minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam").theta
print(json.dumps([theta.tobytes().hex(), prebuilt.directory() is not None]))
"""
COLLECT = """
import sys
from fastmlp.kernels._jit import cache_directory, prebuilt

prebuilt.collect(cache_directory().glob("*.nbc"), *sys.argv[1:])
"""


def run(code, site, cache, *arguments, **settings):
    """What code prints with the package of a folder, and whether it compiled."""
    environment = {"PYTHONPATH": str(site), "FASTMLP_CACHE_DIR": str(cache), **settings}
    process = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return process.stdout, "compiling kernels" in process.stderr


def descend(site, cache, **settings):
    """Bits of the end of a descent, whether the package has code that fits, whether it compiled."""
    printed, has_compiled = run(DESCEND, site, cache, **settings)
    return *json.loads(printed), has_compiled


@pytest.fixture(scope="module", params=LEVELS)
def carried(request, tmp_path_factory):
    """A package with the code of a descent, and settings of a processor just above its level."""
    level, (_, processor, features) = request.param, LEVELS[request.param]
    if level not in levels_of(llvmlite.binding.get_process_triple(), simd.FEATURES):
        pytest.skip(f"this processor has no {level}")
    site, cache = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("cache")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "fastmlp", site / "fastmlp", ignore=ignored)
    shutil.copytree(ROOT / "kernels", site / "fastmlp" / "kernels", ignore=ignored)
    settings = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    _, has_fitting, has_compiled = descend(site, cache, **settings)
    assert (has_fitting, has_compiled) == (False, True)
    run(COLLECT, site, cache, level, str(site / "fastmlp"), **settings)
    name, more = {
        "x86-64-v3": ("haswell", f"{features},+fsgsbase"),
        "x86-64-v4": ("skylake-avx512", f"{features},+fsgsbase"),
        "aarch64": ("neoverse-n1", "+crc"),
    }[level]
    return site, {"NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": more}


@pytest.fixture
def bits():
    """Those of this process, whose kernels were compiled for this very processor."""
    return minimize(lambda x: (x @ x, 2 * x), [1.0, 2.0], optimizer="adam").theta.tobytes().hex()


@compiled_only
def test_it_is_taken_in_place_of_compiling_and_gives_the_same_bits(carried, bits, tmp_path):
    site, processor = carried
    assert descend(site, tmp_path, **processor) == (bits, True, False)
    assert not any(tmp_path.iterdir())


@compiled_only
def test_it_needs_no_folder_for_a_cache(carried, bits, tmp_path):
    site, processor = carried
    (tmp_path / "file").write_text("")
    assert descend(site, tmp_path / "file" / "cache", **processor) == (bits, True, False)


@compiled_only
@pytest.mark.parametrize(
    "other",
    [
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_OPT": "2"},
    ],
    ids=["processor", "settings"],
)
def test_code_for_something_else_is_not_taken(carried, other, tmp_path):
    site, processor = carried
    printed, _ = run(
        "from fastmlp.kernels._jit import prebuilt; print(prebuilt.directory())",
        site,
        tmp_path,
        **processor | other,
    )
    assert printed == "None\n"


def damage(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def forge(path):
    """Another kernel's code, which is whole: its own checksum is right."""
    shutil.copyfile(next(other for other in path.parent.glob("*.nbc") if other != path), path)


@compiled_only
@pytest.mark.parametrize("change", [damage, forge, Path.unlink])
def test_a_file_that_is_not_as_listed_is_compiled(carried, change, bits, tmp_path):
    site, processor = carried
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    change(next(copy.rglob("*adam-worker*.nbc")))
    assert descend(copy, tmp_path / "cache", **processor) == (bits, True, True)


@compiled_only
def test_files_without_their_list_are_nothing(carried, tmp_path):
    site, processor = carried
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    next(copy.rglob("hashes.json")).write_text("[]")
    printed, _ = run(
        "from fastmlp.kernels._jit import prebuilt; print(prebuilt.directory())",
        copy,
        tmp_path / "cache",
        **processor,
    )
    assert printed == "None\n"
