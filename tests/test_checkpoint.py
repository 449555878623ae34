"""Checkpoints: a fit that was interrupted, or crashed, ends as if it had not been."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
from functions import mini_batches
from marks import INTERPRETED, both_precisions, compiled_only
from numpy.testing import assert_array_equal
from safetensors import safe_open
from safetensors.numpy import save_file

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    CosineAnnealing,
    CosineLog,
    FlatCosine,
    Scipy,
    Status,
    checkpoint,
)
from fastmlp.training import OPTIMIZERS

N_ROWS = 24 if INTERPRETED else 90


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.checkpoint"


def data(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N_ROWS, 3))
    return X, np.sin(X.sum(axis=1))


def small_net(dtype="float64"):
    return MLP([3, 5, 1], activation="tanh", dtype=dtype, seed=0)


def fit(net, optimizer, epochs, **options):
    X, y = data()
    batches = mini_batches(optimizer, batch_size=16)
    options = {**batches, "l2": 1e-3, "seed": 1, **options}
    return net.fit(X, y, optimizer=optimizer, epochs=epochs, **options)


def trace_without_clock(result):
    return result.trace.as_array()[:, 1:]


# Exact resumption


@both_precisions
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_twice_n_is_n_and_n_again(name, dtype, path):
    whole, parts = small_net(dtype), small_net(dtype)
    expected = fit(whole, name, 6)
    fit(parts, name, 3, checkpoint=path)
    resumed = small_net(dtype)
    result = fit(resumed, name, 6, checkpoint=path)
    assert_array_equal(resumed.theta, whole.theta)
    assert result.status == expected.status
    assert result.loss == expected.loss
    assert result.n_iter == expected.n_iter
    assert_array_equal(trace_without_clock(result), trace_without_clock(expected))


@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(CosineAnnealing(0.1, period=4), momentum=0.9, nesterov=True),
        Scipy("BFGS"),
        Scipy("trust-constr"),
        [Adam(epochs=2), LBFGS()],
        [Adam(epochs=4), SGD(0.01)],
        Adam(factors={"bias": 0.1, "weights": 2.0}),
    ],
    ids=str,
)
@pytest.mark.parametrize("options", [{}, {"shuffle": "replacement", "clip_norm": 0.1}], ids=str)
def test_schedules_scipy_and_lists(optimizer, options, path):
    options = mini_batches(optimizer, **options)
    whole, parts = small_net(), small_net()
    fit(whole, optimizer, 6, **options)
    fit(parts, optimizer, 3, checkpoint=path, **options)
    fit(parts, optimizer, 6, checkpoint=path, **options)
    assert_array_equal(parts.theta, whole.theta)


def test_the_start_comes_from_the_checkpoint_and_nothing_is_done_twice(path):
    first = fit(small_net(), "adam", 4, checkpoint=path)
    other = MLP([3, 5, 1], activation="tanh", dtype="float64", seed=99)
    again = fit(other, "adam", 4, checkpoint=path)
    assert_array_equal(other.theta, first.theta)
    assert again.n_grad_evals == first.n_grad_evals
    assert again.status == Status.COMPLETED


@pytest.mark.parametrize("schedule", [CosineLog(0.1), FlatCosine(0.1)], ids=repr)
def test_a_fit_cut_short_goes_on_at_the_fraction_of_the_whole_that_it_has_done(schedule, path):
    def stop(progress):
        if progress.record.epoch == 2:
            raise StopIteration

    whole, parts = small_net(), small_net()
    optimizer = SGD(schedule, momentum=0.5)
    fit(whole, optimizer, 5)
    cut = fit(parts, optimizer, 5, checkpoint=path, callbacks=[stop])
    assert cut.status == Status.STOPPED
    fit(parts, optimizer, 5, checkpoint=path)
    assert_array_equal(parts.theta, whole.theta)


def test_a_callback_that_stops_leaves_a_checkpoint_of_that_epoch(path):
    def stop(progress):
        if progress.record.epoch == 2:
            raise StopIteration

    whole, parts = small_net(), small_net()
    fit(whole, "lbfgs", 5)
    assert fit(parts, "lbfgs", 5, checkpoint=path, callbacks=[stop]).status == Status.STOPPED
    fit(parts, "lbfgs", 5, checkpoint=path)
    assert_array_equal(parts.theta, whole.theta)


@pytest.mark.parametrize("optimizer", ["spsa(a=1e300)", "sgd(learning_rate=1e300)"])
def test_what_is_not_finite_is_not_kept(optimizer, path):
    """A fit that diverges leaves no checkpoint that another would go on from to nowhere."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = fit(small_net(), optimizer, 50, checkpoint=path)
        assert result.status == Status.NOT_FINITE
        again = fit(small_net(), optimizer, 50, checkpoint=path)
    assert np.isfinite(again.theta).all()
    assert np.isfinite(again.loss)


@compiled_only
def test_a_killed_process_is_taken_up_where_it_was(path):
    """The file is written after every epoch; the process is killed at any time after some."""
    program = """
        import sys
        import numpy as np
        from fastmlp import MLP, checkpoint
        checkpoint._SECONDS_BETWEEN = checkpoint._WRITING_SHARE = 0
        rng = np.random.default_rng(0)
        X = rng.normal(size=(2000, 3))
        net = MLP([3, 5, 1], activation="tanh", dtype="float64", seed=0)
        epochs, path = int(sys.argv[1]), sys.argv[2]
        net.fit(X, np.sin(X.sum(axis=1)), epochs=epochs, seed=1, checkpoint=path)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    process = subprocess.Popen([*command, "1000000000", path])
    writes = set()
    while len(writes) < 3:
        assert process.poll() is None
        time.sleep(0.01)
        if path.exists():
            writes.add(path.stat().st_mtime_ns)
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    process.wait()
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 3))
    y = np.sin(X.sum(axis=1))
    resumed = MLP([3, 5, 1], activation="tanh", dtype="float64", seed=0)
    done = resumed.fit(X, y, epochs=1, seed=1, checkpoint=path).n_iter
    assert done > 1
    resumed.fit(X, y, epochs=done + 3, seed=1, checkpoint=path)
    whole = MLP([3, 5, 1], activation="tanh", dtype="float64", seed=0)
    whole.fit(X, y, epochs=done + 3, seed=1)
    assert_array_equal(resumed.theta, whole.theta)


# What is refused


def refused(path, message, error=ValueError, **options):
    """The fit is refused, and neither the network nor the file has changed."""
    before = path.read_bytes() if path.is_file() else None
    net = small_net()
    start = net.theta.copy()
    with pytest.raises(error, match=message):
        fit(net, options.pop("optimizer", "adam"), 5, checkpoint=path, **options)
    assert_array_equal(net.theta, start)
    if before is not None:
        assert path.read_bytes() == before


@pytest.mark.parametrize("part", [0, 1, 100, -1])
def test_a_torn_file(part, path):
    fit(small_net(), "adam", 3, checkpoint=path)
    path.write_bytes(path.read_bytes()[:part])
    refused(path, "checkpoint must be a whole file")


def test_a_flipped_bit(path):
    fit(small_net(), "adam", 3, checkpoint=path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    refused(path, "checkpoint must be a whole file, the checksum of .* differs")


def test_a_changed_text(path):
    """What is counted is in no tensor, and yet a fit goes on from it: Adam from its updates."""
    fit(small_net(), "adam", 3, checkpoint=path)
    with safe_open(path, framework="numpy") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        texts = file.metadata()
    changed = texts["values"].replace('"n_updates": 18', '"n_updates": 81')
    assert changed != texts["values"]
    save_file(tensors, path, texts | {"values": changed})
    refused(path, "checkpoint must be a whole file, the checksum of .* differs")


def test_a_model_file(path):
    small_net().save(path)
    refused(path, "checkpoint must be a file that fit wrote there, the format of .* 'fastmlp-1'")


@pytest.mark.parametrize(
    ("options", "difference"),
    [
        ({"optimizer": "adam(beta_1=0.8)"}, "optimizer"),
        ({"optimizer": "adam(factors={'bias': 0.1})"}, "optimizer"),
        ({"optimizer": ["adam", "lbfgs"]}, "optimizer"),
        ({"l2": 0.5}, "objective"),
        ({"loss": "huber"}, "objective"),
        ({"batch_size": 8}, "mini-batches"),
        ({"sample_weight": np.arange(1.0, N_ROWS + 1)}, "data"),
    ],
    ids=str,
)
def test_another_fit(options, difference, path):
    fit(small_net(), "adam", 3, checkpoint=path)
    refused(path, f"checkpoint must be of this fit, but .* differs in {difference}", **options)


def test_files_of_before_there_were_factors_are_of_fits_without(path):
    optimizer = Adam()
    assert "factors" not in checkpoint._describe(optimizer)
    assert checkpoint._describe(Adam(factors={})) == checkpoint._describe(optimizer)
    assert checkpoint._describe(Adam(factors={"bias": 0.1}))["factors"] == {"bias": 0.1}


def test_other_data_or_network(path):
    X, y = data()
    fit(small_net(), "adam", 3, checkpoint=path)
    options = {"batch_size": 16, "l2": 1e-3, "checkpoint": path}
    with pytest.raises(ValueError, match="differs in data"):
        small_net().fit(X, y + 1, **options)
    with pytest.raises(ValueError, match="differs in architecture"):
        MLP([3, 6, 1], dtype="float64").fit(X, y, **options)


def test_bad_paths(tmp_path):
    refused(tmp_path, "checkpoint must be a file, .* is a folder", IsADirectoryError)
    refused(tmp_path / "no" / "file", "checkpoint must be in an existing", FileNotFoundError)
    with pytest.raises(TypeError, match="path must be a string or a path, got 3"):
        fit(small_net(), "adam", 1, checkpoint=3)


def test_a_write_that_fails_leaves_the_last_good_file(path, monkeypatch):
    fit(small_net(), "adam", 3, checkpoint=path)
    good = path.read_bytes()

    def broken(*arguments):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="no space left"):
        fit(small_net(), "adam", 5, checkpoint=path)
    assert path.read_bytes() == good
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]
