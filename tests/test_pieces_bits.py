"""The bits of networks of pieces: for any number of threads, width of vectors, and resumed fits."""

import hashlib
import os
import subprocess
import sys

import llvmlite.binding as llvm
import numpy as np
import pytest
from forced_teams import force_teams
from marks import both_precisions, compiled_only
from numpy.testing import assert_array_equal
from test_rnn import fitted

from fastmlp import MLP, Adam, Categorical, FlatCosine, Numeric

pytestmark = compiled_only

N_COLUMNS = 6
N_ROWS = 83
EDGES = [[-2.0, -0.7, 0.1, 0.9, 2.5], [-0.5, 0.5]]
INPUTS = [
    Numeric((0, 1), "periodic", size=5),
    Numeric((2, 3), "piecewise_linear", size=9, edges=EDGES),
    Categorical(4, 70, size=5),
    Categorical(5, 3),
]

# Widths that are no multiples of a vector, with more than one in a row.
SIZES = (N_COLUMNS, 21, 21, 3)
PIECES = {
    "layer norm": {"norm": "layer"},
    "batch norm": {"norm": "batch"},
    "dropout": {"dropout": (0.5, 0.1), "input_dropout": 0.1},
    "dropout by a schedule": {"dropout": FlatCosine(0.4)},
    "residual": {"residual": True},
    "tied and scaled": {"sizes": (N_COLUMNS, 21, 21, 21, 3), "tied": [(3, 2)], "input_scale": True},
    "members": {"members": 3},
    "one-hot": {"inputs": [Categorical(4, 70), Categorical(5, 3)]},
    "embeddings": {"inputs": INPUTS},
    "batch norm and dropout": {
        "norm": ["batch", "layer"],
        "dropout": (0.2, 0.4),
        "residual": [False, True],
        "activation": "gelu",
    },
    "all of it": {
        "sizes": (N_COLUMNS, 21, 21, 21, 3),
        "norm": ["layer", "batch", None],
        "dropout": (0.0, 0.3, 0.2),
        "input_dropout": 0.1,
        "residual": [False, True, True],
        "tied": [(3, 2)],
        "input_scale": True,
        "members": 2,
        "inputs": INPUTS,
        "activation": ["prelu", "parametric(mish)", "relu"],
    },
}
every_piece = pytest.mark.parametrize("piece", PIECES)


def network(piece, dtype, seed=1):
    """A network none of whose parameters is 0."""
    pieces = {"sizes": SIZES, "activation": "tanh"} | PIECES[piece]
    net = MLP(pieces.pop("sizes"), output="softmax", dtype=dtype, seed=seed, **pieces)
    net.theta += np.random.default_rng(seed).normal(0.0, 0.2, net.n_params).astype(dtype)
    return net


def data(net):
    """X, classes and weights; columns 4 and 5 are codes, some missing where that may be."""
    rng = np.random.default_rng(0)
    X = rng.normal(0.2, 1.3, (N_ROWS, N_COLUMNS))
    X[:, 4], X[:, 5] = rng.integers(70, size=N_ROWS), rng.integers(3, size=N_ROWS)
    if net.categorical_columns:
        X[::7, 5] = np.nan
    else:
        X[:, 4] /= 70
    return X, rng.integers(3, size=N_ROWS), rng.uniform(0.5, 2.0, N_ROWS)


OPTIONS = {"optimizer": Adam(), "batch_size": 40, "seed": 0, "l2": 0.01}


def results(piece, dtype, n_threads=1):
    """All numbers that come of an evaluation, a gradient, a fit and a prediction."""
    net = network(piece, dtype)
    X, y, weights = data(net)
    evaluated = net.loss_and_grad(X, y, sample_weight=weights, n_threads=n_threads)
    options = OPTIONS | {"loss": "cross_entropy(0.1)", "sample_weight": weights}
    result = net.fit(X, y, epochs=3, n_threads=n_threads, **options)
    return [
        *evaluated,
        net.loss(X, y, n_threads=n_threads),
        net.predict(X, n_threads=n_threads),
        result.trace["objective"],
        net.theta,
        *net.statistics.values(),
    ]


# Threads


@pytest.fixture
def teams(monkeypatch):
    """Blocks of a few rows, and teams of as many threads as are asked for: the set of those met."""
    return force_teams(monkeypatch, task_elements=64)


@every_piece
@both_precisions
def test_no_bit_depends_on_the_number_of_threads(piece, dtype, teams):
    expected = results(piece, dtype)
    for n_threads in (2, 3, 4):
        found = results(piece, dtype, n_threads)
        for one, other in zip(found, expected, strict=True):
            assert_array_equal(one, other)
    assert teams == {2, 3, 4}


# Vectors


def fingerprints():
    """A digest of a recurrent network, and of the results for each piece and both precisions."""
    digests = [f"recurrent:{hashlib.sha256(fitted()).hexdigest()}"]
    for piece in PIECES:
        for dtype in ("float32", "float64"):
            numbers = [np.asarray(one).tobytes() for one in results(piece, dtype)]
            digests.append(f"{piece}:{dtype}:{hashlib.sha256(b''.join(numbers)).hexdigest()}")
    return digests


def test_no_bit_depends_on_the_width_of_vectors():
    features = llvm.get_host_cpu_features()
    if not (features.get("avx512f") and features.get("fma")):
        pytest.skip("the host has one vector length only")
    kept = [
        f"{'+' if has and 'avx512' not in name else '-'}{name}" for name, has in features.items()
    ]
    run = subprocess.run(
        [sys.executable, "-c", "import test_pieces_bits as t; print(*t.fingerprints(), sep='\\n')"],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([os.path.dirname(__file__), *sys.path]),
            "NUMBA_CPU_NAME": "haswell",
            "NUMBA_CPU_FEATURES": ",".join(kept),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.splitlines() == fingerprints()


# Checkpoints


@every_piece
def test_a_fit_that_is_taken_up_again_has_the_same_bits(piece, tmp_path):
    whole, first, resumed = (network(piece, "float32", seed) for seed in (1, 1, 9))
    X, y, _ = data(whole)
    # Both know of how many epochs the fit is, as schedules do.
    options = OPTIONS | {"epochs": 4}
    expected = whole.fit(X, y, **options)
    path = tmp_path / "fit.checkpoint"

    def interrupt(progress):
        if progress.record.epoch == 2:
            raise KeyboardInterrupt

    first.fit(X, y, checkpoint=path, callbacks=[interrupt], **options)
    assert not np.array_equal(first.theta, whole.theta)
    result = resumed.fit(X, y, checkpoint=path, **options)
    assert_array_equal(resumed.theta, whole.theta)
    for name, view in whole.statistics.items():
        assert_array_equal(resumed.statistics[name], view)
    assert_array_equal(result.trace["objective"], expected.trace["objective"])
    assert result.loss == expected.loss
