"""Model files: what is saved comes back bit by bit, what is broken is refused in a sentence."""

import json
import os
import pickle

import numpy as np
import pytest
from marks import both_precisions
from numpy.testing import assert_array_equal
from safetensors import numpy as safetensors
from safetensors import safe_open

from fastmlp import MLP

ELEMENTWISE = (
    "identity",
    "relu",
    "leaky_relu(0.30000000000000004)",
    "sigmoid",
    "tanh",
    "elu",
    "selu",
    "gelu",
    "silu",
    "mish",
    "softplus",
    "exponential",
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.fixture
def saved(path):
    """A network and its file."""
    net = MLP([3, 4, 2], output="softmax", seed=0)
    net.save(path)
    return net


def write(path, tensors, **metadata):
    safetensors.save_file(tensors, path, metadata)


def contents(path):
    """Tensors and metadata of a file, as safetensors itself reads them."""
    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


# There and back


@pytest.mark.parametrize("activation", ELEMENTWISE)
@both_precisions
def test_a_network_comes_back_bit_by_bit(activation, dtype, path):
    net = MLP([3, 5, 4, 2], activation=[activation, "tanh"], output=activation, dtype=dtype, seed=1)
    net.theta[:3] = np.finfo(dtype).tiny, -np.finfo(dtype).max, -0.0
    net.save(path)
    loaded = MLP.load(path)
    assert loaded.theta.tobytes() == net.theta.tobytes()
    assert loaded.dtype == net.dtype
    assert loaded.layer_sizes == net.layer_sizes
    assert loaded.activations == net.activations
    assert repr(loaded) == repr(net)


def test_a_loaded_network_can_be_used_and_trained(saved, path):
    X = np.random.default_rng(0).normal(size=(20, 3))
    loaded = MLP.load(path)
    assert_array_equal(loaded.predict(X), saved.predict(X))
    for net in (saved, loaded):
        net.fit(X, X.argmax(axis=1) % 2, epochs=2, seed=0)
    assert_array_equal(loaded.theta, saved.theta)
    assert np.shares_memory(loaded.theta, loaded.weights[0])


def test_without_hidden_layers(path):
    net = MLP([2, 1], output="sigmoid", seed=0)
    net.save(path)
    assert_array_equal(MLP.load(path).theta, net.theta)


def test_a_class_loads_networks_of_its_own(saved, path):
    class Mine(MLP):
        pass

    net = Mine.load(path)
    assert type(net) is Mine
    assert_array_equal(net.theta, saved.theta)


def test_paths_may_be_strings(saved, path):
    assert_array_equal(MLP.load(str(path)).theta, saved.theta)
    other = str(path) + "2"
    saved.save(other)
    assert_array_equal(MLP.load(other).theta, saved.theta)


# The format


def test_safetensors_reads_the_layers_by_name(saved, path):
    tensors, metadata = contents(path)
    assert sorted(tensors) == ["biases.0", "biases.1", "weights.0", "weights.1"]
    for layer in (0, 1):
        assert_array_equal(tensors[f"weights.{layer}"], saved.weights[layer])
        assert_array_equal(tensors[f"biases.{layer}"], saved.biases[layer])
        assert tensors[f"weights.{layer}"].dtype == np.float32
    assert metadata["format"] == "fastmlp-1"
    assert json.loads(metadata["architecture"]) == {
        "layer_sizes": [3, 4, 2],
        "activation": ["relu"],
        "output": "softmax",
        "dtype": "float32",
        "init": "auto",
    }


# Files that are none


def refused(path, error=ValueError):
    """The one sentence that loading fails with, which names the path."""
    with pytest.raises(error) as caught:
        MLP.load(path)
    message = str(caught.value)
    assert message.startswith("path must be ")
    assert repr(str(path)) in message
    assert "\n" not in message
    return message


def test_a_file_that_is_not_there(path, tmp_path):
    assert "there is none" in refused(path, FileNotFoundError)
    assert "there is none" in refused(tmp_path, FileNotFoundError)
    assert "there is none" in refused(tmp_path / "no" / "such", FileNotFoundError)


def test_every_truncated_file_is_refused(saved, path):
    whole = path.read_bytes()
    for length in [*range(20), *range(20, len(whole), 37), len(whole) - 1]:
        path.write_bytes(whole[:length])
        assert "safetensors" in refused(path)
    path.write_bytes(whole)
    MLP.load(path)


@pytest.mark.parametrize(
    "garbage",
    [
        b"garbage",
        b"\0" * 100,
        b"\xff" * 100,
        (100).to_bytes(8, "little") + b"{" * 100,
        b"PK\x03\x04" + b"\0" * 60,
        np.random.default_rng(0).bytes(500),
    ],
)
def test_garbage_is_refused(garbage, path):
    path.write_bytes(garbage)
    refused(path)


def test_longer_files_are_refused(saved, path):
    path.write_bytes(path.read_bytes() + b"more")
    refused(path)


class Bomb:
    def __reduce__(self):
        return os.abort, ()


def test_pickles_are_never_opened(path):
    path.write_bytes(pickle.dumps(Bomb()))
    refused(path)
    np.save(path.with_suffix(".npy"), np.array([Bomb()], dtype=object), allow_pickle=True)
    refused(path.with_suffix(".npy"))


# Files of something else


def test_safetensors_files_of_others_are_refused(path):
    write(path, {"weights.0": np.ones((2, 1))})
    assert "the format of" in refused(path)
    write(path, {"weights.0": np.ones((2, 1))}, format="pt")
    assert "is 'pt', not 'fastmlp-1'" in refused(path)


def test_a_format_of_the_future_is_refused(saved, path):
    tensors, metadata = contents(path)
    write(path, tensors, **{**metadata, "format": "fastmlp-2"})
    assert "is 'fastmlp-2', not 'fastmlp-1'" in refused(path)


def test_number_types_that_numpy_does_not_have_are_refused(path):
    header = json.dumps({"weights.0": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}})
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + bytes(4))
    refused(path)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"weights.0": np.ones((4, 3), np.float32)}, "its layers need"),
        ({"weights.0": np.ones(12, np.float32)}, "its layers need"),
        ({"biases.1": np.ones((2, 1), np.float32)}, "its layers need"),
        ({"biases.1": None}, "its layers need"),
        ({"weights.2": np.ones((2, 2), np.float32)}, "its layers need"),
        ({"weights.0": np.ones((3, 4))}, "its tensors are not all float32"),
        ({"weights.0": np.ones((3, 4), np.int32)}, "its tensors are not all float32"),
        ({"weights.0": np.full((3, 4), np.nan, np.float32)}, "theta must be finite, got nan"),
        ({"biases.0": np.full(4, np.inf, np.float32)}, "theta must be finite, got inf at index 12"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(changes, reason, saved, path):
    tensors, metadata = contents(path)
    tensors = {k: v for k, v in {**tensors, **changes}.items() if v is not None}
    write(path, tensors, **metadata)
    assert reason in refused(path)


@pytest.mark.parametrize(
    "architecture",
    [
        "",
        "{",
        "3",
        "null",
        "[]",
        "{}",
        '{"layer_sizes": "3-4-2"}',
        '{"layer_sizes": [3, 4]}',
        '{"layer_sizes": [3, 4, 0, 2]}',
        '{"layer_sizes": [3, 4, Infinity]}',
        '{"layer_sizes": [3, 4, NaN]}',
        '{"layer_sizes": [3, 4, 2]}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float32"}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float16", "activation": ["relu"], "output": "relu"}',
        '{"layer_sizes": [3, 4, 2], "dtype": 3, "activation": ["relu"], "output": "relu"}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float32", "activation": ["r"], "output": "relu"}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float32", "activation": [], "output": "relu"}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float32", "activation": [1], "output": "relu"}',
        '{"layer_sizes": [3, 4, 2], "dtype": "float32", "activation": ["relu"], "output": null}',
        '{"layer_sizes": [3, 4, 2.5], "dtype": "float32", "activation": ["elu"], "output": "elu"}',
        pytest.param("[" * 100_000, id="deep"),
    ],
)
def test_a_broken_architecture_is_refused(architecture, saved, path):
    tensors, metadata = contents(path)
    write(path, tensors, **{**metadata, "architecture": architecture})
    assert "a file that MLP.save wrote" in refused(path)


def test_a_missing_architecture_is_refused(saved, path):
    write(path, contents(path)[0], format="fastmlp-1")
    assert "a file that MLP.save wrote" in refused(path)


@pytest.mark.parametrize("call", [MLP.load, MLP([2, 1]).save])
@pytest.mark.parametrize("path", [None, 3, b"model", ["model"]])
def test_paths_that_are_none(call, path):
    with pytest.raises(TypeError, match="path must be a string or a path, got "):
        call(path)


# Saving


def test_saving_replaces_a_file(saved, path, tmp_path):
    other = MLP([2, 1], seed=5)
    other.save(path)
    assert_array_equal(MLP.load(path).theta, other.theta)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["safetensors.numpy.save", "os.replace"])
def test_a_failed_save_keeps_the_old_file_and_leaves_no_other(
    failing, saved, path, tmp_path, monkeypatch
):
    def full_disk(*arguments):
        raise OSError("no space left on device")

    before = path.read_bytes()
    monkeypatch.setattr(failing, full_disk)
    with pytest.raises(OSError, match="no space left on device"):
        MLP([2, 1], seed=5).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there(path, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"path must be in an existing folder, got '.*no"):
        MLP([2, 1]).save(tmp_path / "no" / "model")


@pytest.mark.parametrize("name", [".", ""])
def test_a_folder_is_no_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IsADirectoryError, match=r"path must be a file, '\.' is a folder"):
        MLP([2, 1]).save(name)
    assert list(tmp_path.iterdir()) == []
