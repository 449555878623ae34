"""The examples beside other packages run where these are."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from marks import compiled_only

from fastmlp import MLP, datasets

FOLDER = Path(__file__).parents[1] / "examples" / "integrations"


def run(name, *options, cwd):
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *map(str, options)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_there_is_a_test_for_each():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {"optuna_pruning", "mlflow_tracking", "fastapi_service"}


@compiled_only
def test_optuna_prunes_trials_and_finds_a_good_one(tmp_path):
    pytest.importorskip("optuna")
    trials, best = run("optuna_pruning", "--trials", 12, cwd=tmp_path)
    n_trials, n_pruned = (int(word) for word in trials.split() if word.isdigit())
    assert n_trials == 12
    assert 1 <= n_pruned < 12
    # A class at random has a loss of log(10) = 2.3.
    assert float(best.split()[3]) < 0.6


@compiled_only
def test_mlflow_has_parameters_metrics_and_the_model(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    counts, accuracy = run("mlflow_tracking", "--epochs", 6, "--folder", "runs", cwd=tmp_path)
    assert counts == "6 epochs, 5 metrics, 3 parameters"
    assert float(accuracy.split()[-1]) > 0.7
    (kept,) = (tmp_path / "runs" / "artifacts").rglob("*.safetensors")
    net = MLP.load(kept)
    X, y = datasets.load_digits()
    assert net.score(X[1200:], y[1200:]) > 0.7


@pytest.mark.filterwarnings("ignore")  # of what others say about each other
def test_the_service_answers(tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx")
    from fastapi.testclient import TestClient

    net = MLP([3, 4, 2], output="softmax", seed=0)
    net.save(tmp_path / "net.safetensors")
    make_app = runpy.run_path(str(FOLDER / "fastapi_service.py"))["make_app"]
    X = np.random.default_rng(0).normal(size=(5, 3))
    with TestClient(make_app(str(tmp_path / "net.safetensors"))) as client:
        assert client.get("/health").json()["network"] == "3-4-2"
        answer = client.post("/predict", json={"rows": X.tolist()})
        assert answer.status_code == 200
        chances = net.predict(X)
        assert answer.json()["classes"] == chances.argmax(axis=1).tolist()
        np.testing.assert_array_equal(answer.json()["probabilities"], chances)
        refused = client.post("/predict", json={"rows": [[1.0, 2.0]]})
        assert refused.status_code == 422
        assert "X must have the shape (n, 3)" in refused.json()["detail"]
