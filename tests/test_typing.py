"""Type checkers: a user's script passes `mypy --strict`, and mistakes in calls do not."""

import inspect
import os
import subprocess
import sys
from enum import EnumMeta
from importlib.util import find_spec
from pathlib import Path

import pytest

import fastmlp
from fastmlp import options

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tests" / "typed" / "script.py"


@pytest.mark.skipif(find_spec("mypy") is None, reason="needs mypy")
def test_a_users_script_passes_strict_mypy(tmp_path):
    """Its last function is of mistakes that are to be found: comments allow for just these."""
    environment = dict(os.environ)
    sources = Path(fastmlp.__file__).parents[1]
    if (sources / "pyproject.toml").exists():  # else it is installed, where mypy finds it itself
        environment["MYPYPATH"] = str(sources)
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent"]
    run = subprocess.run(
        [*command, "--cache-dir", str(tmp_path / "cache"), str(SCRIPT)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(
    ("listed", "function", "but"),
    [
        (
            options.OptionsOfMany,
            fastmlp.fit,
            {"progress", "n_threads", "seed", "restarts", "checkpoint"},
        ),
        (options.OptionsOfParts, fastmlp.fit_parts, {"map"}),
    ],
)
def test_what_type_checkers_know_of_options_is_what_the_signature_says(listed, function, but):
    signature = inspect.signature(function)
    written = {
        name: one.annotation
        for name, one in signature.parameters.items()
        if one.kind is one.KEYWORD_ONLY and name not in but
    }
    known = {name: one.__forward_arg__ for name, one in listed.__annotations__.items()}
    assert known == written


def test_options_of_dask_are_those_of_parts():
    pytest.importorskip("distributed")
    import fastmlp.dask

    ours = inspect.signature(fastmlp.dask.fit).parameters
    theirs = inspect.signature(fastmlp.fit_parts).parameters
    shared = {
        name: one for name, one in theirs.items() if one.kind is one.KEYWORD_ONLY and name != "map"
    }
    assert {name: ours[name] for name in shared} == shared
    assert [*ours] == ["net", "X", "y", "sample_weight", "client", *shared]


PUBLIC = [
    getattr(fastmlp, name)
    for name in fastmlp.__all__
    if inspect.isfunction(getattr(fastmlp, name)) or inspect.isclass(getattr(fastmlp, name))
]


@pytest.mark.parametrize("public", PUBLIC, ids=lambda one: one.__name__)
def test_every_public_name_shows_its_parameters_with_types(public):
    """No `**options` is left to guess at, and no parameter is without a type."""
    called = public.__init__ if inspect.isclass(public) else public
    if issubclass(type(public), EnumMeta) or called is object.__init__ or public is fastmlp.Rows:
        return  # nobody calls them
    for name, one in list(inspect.signature(called).parameters.items())[inspect.isclass(public) :]:
        assert one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL), name
        assert one.annotation is not one.empty, name
