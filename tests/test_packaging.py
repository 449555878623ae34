"""What gets installed: the wheel's contents, and the names the README and pyproject agree on."""

import importlib.metadata
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import fastmlp

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Names of the files in a wheel built from this tree."""
    pytest.importorskip("setuptools", reason="building a wheel offline needs setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*command, "--quiet", "--wheel-dir", folder, ROOT], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("fastmlp-*.whl")
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_wheel_claims_no_name_but_fastmlp(wheel):
    assert {name.split("/")[0].split("-")[0] for name in wheel} == {"fastmlp"}


@pytest.mark.parametrize(
    "name",
    [
        "fastmlp/kernels/epoch.py",
        "fastmlp/solvers/scipy_methods.py",
        "fastmlp/datasets/digits.csv.gz",
        "fastmlp/datasets/digits.txt",
        "fastmlp/py.typed",
    ],
)
def test_wheel_is_complete(wheel, name):
    assert name in wheel


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == fastmlp.__version__ == importlib.metadata.version("fastmlp")


def test_every_public_name_is_there_and_documented():
    for name in fastmlp.__all__:
        assert getattr(fastmlp, name).__doc__, name


def test_readme_has_its_two_commands():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(pip install [^\n]*)\n```", readme)
    assert "pip install . && fastmlp compare" in commands
    assert "pip install '.[test]' && pytest" in commands
