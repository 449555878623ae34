"""What gets installed, and what README, pyproject and package must agree on."""

import importlib
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import fastmlp

ROOT = Path(__file__).parent.parent
FOLDERS = (
    *("fastmlp", "kernels", "tests", "docs", "examples", "asv_bench"),
    *("conda", ".ci", ".github"),
)


@pytest.fixture
def installed():
    """Paths of the installed files, relative to site-packages."""
    files = [str(path) for path in importlib.metadata.files("fastmlp") or []]
    if "fastmlp/__init__.py" not in files or "pyproject.toml" in files:
        pytest.skip("fastmlp is installed in editable mode, which has no files of its own")
    return files


def test_installation_claims_no_name_but_fastmlp(installed):
    names = {path.split("/")[0].split("-")[0] for path in installed}
    assert names - {".."} == {"fastmlp"}  # the command goes to ../../../bin


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
def test_installation_is_complete(installed, name):
    assert name in installed


def made_by_setuptools(source, code):
    """What a build back end prints last, in a copy of the sources."""
    code = f"import setuptools.build_meta as build; print(build.{code})"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


def test_a_wheel_has_the_package_and_nothing_else(tmp_path):
    """Built from the sources alone, as `python -m build` does."""
    pytest.importorskip("setuptools", minversion="77", reason="pyproject asks for as new a one")
    source = tmp_path / "source"
    for folder in ("fastmlp", "kernels"):
        ignored = shutil.ignore_patterns("__pycache__", "*.py[cod]")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, source)
    files = {str(path.relative_to(source)) for path in source.rglob("*/*") if path.is_file()}
    name = made_by_setuptools(source, f"build_wheel({str(tmp_path)!r})")
    wheel = zipfile.ZipFile(tmp_path / name)
    about = f"fastmlp-{fastmlp.__version__}.dist-info"
    assert set(wheel.namelist()) == {
        *(re.sub(r"^kernels/", "fastmlp/kernels/", name) for name in files),
        *(f"{about}/{name}" for name in ("METADATA", "RECORD", "WHEEL", "entry_points.txt")),
        *(f"{about}/{name}" for name in ("licenses/LICENSE", "top_level.txt")),
    }


def test_the_source_archive_has_what_the_repository_has(tmp_path):
    """Tests among it, and with them what they need."""
    pytest.importorskip("setuptools", minversion="77", reason="pyproject asks for as new a one")
    patterns = "__pycache__", "*.py[cod]", "*.egg-info", ".asv", "_build"
    source, archives = tmp_path / "source", tmp_path / "archives"
    archives.mkdir()

    def made(folder, names):
        """What is no part of the repository; Sphinx may be at work on it in this moment."""
        sphinx = {"docs": {"gallery"}, "api": {"backreferences", "generated"}}
        return shutil.ignore_patterns(*patterns)(folder, names) | sphinx.get(
            Path(folder).name, set()
        )

    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, source / folder, ignore=made)
    for path in ROOT.iterdir():
        named = path.name in ("LICENSE", ".gitignore", "CITATION.cff")
        if named or path.suffix in (".md", ".toml", ".in", ".py"):
            shutil.copy(path, source)
    files = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}

    name = made_by_setuptools(source, f"build_sdist({str(archives)!r})")
    with tarfile.open(archives / name) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert files - packed == set()


def test_the_version_is_in_one_place():
    """Who installs, reads or cites takes it from there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert project["project"]["dynamic"] == ["version"]
    source = project["tool"]["setuptools"]["dynamic"]["version"]["attr"]
    assert source == "fastmlp.version.__version__"
    assert fastmlp.__version__ == importlib.metadata.version("fastmlp")
    quoted = re.compile(rf"""["'= ]{re.escape(fastmlp.__version__)}(["']|$)""", re.M)
    for path in ("pyproject.toml", "CITATION.cff", "conda/meta.yaml", "docs/cite.md"):
        assert not quoted.search((ROOT / path).read_text(encoding="utf-8")), path


def test_the_conda_recipe_asks_for_what_pyproject_asks_for():
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for needed in (f"python {project['requires-python']}", *project["dependencies"]):
        name, version = re.fullmatch(r"([\w-]+) ?(.*)", needed).groups()
        assert f"    - {name} {version}\n" in recipe


def test_the_development_extra_has_what_contributing_runs():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(extra):
        for needed in extras[extra]:
            own = re.fullmatch(r"fastmlp\[(.*)\]", needed)
            if own:
                for other in own[1].split(","):
                    yield from names(other)
            else:
                yield re.match(r"[\w-]+", needed)[0]

    assert set(names("dev")) >= {"pytest", "ruff", "mypy", "build", "twine", "sphinx"}
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    installed = set(re.findall(r"^ *pip install (.*)$", contributing, re.M))
    assert installed == {"'.[dev]'"}


def test_every_public_name_is_there_and_documented():
    for name in fastmlp.__all__:
        assert getattr(fastmlp, name).__doc__, name


@pytest.mark.parametrize(
    "package", ["fastmlp.dask", "fastmlp.datasets", "fastmlp.sklearn", "fastmlp.solvers"]
)
def test_a_package_lists_its_public_names_alone(package):
    if package == "fastmlp.dask":
        pytest.importorskip("distributed")
    if package == "fastmlp.sklearn":
        pytest.importorskip("sklearn")
    module = importlib.import_module(package)
    assert dir(module) == sorted(module.__all__)


def test_fastmlp_lists_its_public_names_alone_and_the_estimators():
    pytest.importorskip("sklearn")
    estimators = {"MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"}
    assert set(dir(fastmlp)) == {*fastmlp.__all__, "__version__", *estimators}


def test_help_and_all_that_is_listed_need_no_scikit_learn():
    code = (
        "import sys; sys.modules['sklearn'] = None; import inspect, pydoc, fastmlp; "
        "pydoc.render_doc(fastmlp); print(len(inspect.getmembers(fastmlp)) == len(dir(fastmlp)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.stdout == "True\n", run.stderr


def test_a_module_that_is_loaded_late_is_an_attribute_as_any():
    code = "import fastmlp; print(fastmlp.solvers.LBFGS is fastmlp.LBFGS, fastmlp.fit.__module__)"
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["True", "fastmlp.fitting"]


def test_an_unknown_name_is_refused_as_by_any_module():
    with pytest.raises(AttributeError, match="module 'fastmlp' has no attribute 'MLQ'"):
        fastmlp.MLQ  # noqa: B018


def test_readme_has_its_two_commands():
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"```sh\n(pip install [^\n]*)\n```", readme)
    assert "pip install . && fastmlp compare" in commands
    assert "pip install '.[test]' && pytest" in commands


def test_import_works_in_the_source_tree():
    """There ./fastmlp comes before the installed package, and has no kernels folder in it."""
    code = "import fastmlp.kernels.codes as codes; print(codes.ADAM)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "3\n", done.stderr
