"""Networks as files of ONNX, run by onnxruntime."""

import json

import exported
import numpy as np
import pytest
from marks import compiled_only
from numpy.testing import assert_allclose

from fastmlp import MLP
from fastmlp.export import graph, to_onnx
from fastmlp.kernels.program import STAGES
from fastmlp.network import ACTIVATIONS
from fastmlp.pieces import NAMES
from fastmlp.version import __version__

onnx = pytest.importorskip("onnx", reason="files of ONNX are written and checked by onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="files of ONNX are run by onnxruntime")

DTYPES = ["float32", "float64"]

# The bound that is promised for float32. In float64 norms have an epsilon of float32, as attributes
# of ONNX are, and erf is of float32, as onnxruntime has no other.
TOLERANCE = {"float32": 1e-5, "float64": 1e-10}
ERF = 1e-6


def run(path, feeds):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def check(net, path, X=None, tolerance=None):
    X = exported.rows(net) if X is None else X
    net.to_onnx(path)
    onnx.checker.check_model(str(path), full_check=True)
    (outputs,) = run(path, {"X": X})
    expected = net.predict(X)
    assert outputs.dtype == net.dtype
    assert outputs.shape == expected.shape
    tolerance = TOLERANCE[str(net.dtype)] if tolerance is None else tolerance
    assert_allclose(outputs, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", exported.HIDDEN)
def test_every_hidden_activation(activation, dtype, tmp_path):
    net = exported.network(dtype, activation=activation)
    tolerance = ERF if "gelu" in activation and dtype == "float64" else None
    check(net, tmp_path / "net.onnx", tolerance=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_every_output_activation(output, dtype, tmp_path):
    net = exported.network(dtype, output=output)
    tolerance = ERF if output == "gelu" and dtype == "float64" else None
    check(net, tmp_path / "net.onnx", tolerance=tolerance)


def test_networks_of_every_piece_are_among_those_that_are_tested():
    missing = set(NAMES) - {name for given in exported.PIECES.values() for name in given}
    assert not missing, f"tests/exported.py has no network with {missing}"


def test_every_stage_of_a_program_is_read_and_every_operation_written():
    missing = set(STAGES) - set(graph.READERS)
    assert not missing, f"fastmlp/export/graph.py reads no stage {missing}"
    missing = set(graph.OPERATIONS) - set(to_onnx.WRITERS)
    assert not missing, f"fastmlp/export/to_onnx.py writes no operation {missing}"


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", exported.PIECES)
def test_every_piece(name, dtype, tmp_path):
    net = exported.network(dtype, **exported.PIECES[name])
    tolerance = ERF if name == "mixed" and dtype == "float64" else None
    check(net, tmp_path / "net.onnx", tolerance=tolerance)


@pytest.mark.parametrize("members", [1, 2])
def test_categories_alone(members, tmp_path):
    check(exported.only_categories(members=members), tmp_path / "net.onnx")


@pytest.mark.parametrize("members", [1, 3])
def test_a_network_without_hidden_layers(members, tmp_path):
    check(exported.shaken(MLP([4, 2], members=members, seed=0)), tmp_path / "net.onnx")


@pytest.mark.parametrize("sequence", ["last", "all"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "leaky_relu(0.1)", "gelu"])
def test_recurrent_networks(activation, sequence, tmp_path):
    net = exported.recurrent(activation=activation, sequence=sequence)
    check(net, tmp_path / "net.onnx")
    check(net, tmp_path / "net.onnx", exported.rows(net)[:, :1])


def test_any_number_of_rows(tmp_path):
    net = exported.network(members=2)
    for n in (1, 3, 300):
        check(net, tmp_path / "net.onnx", exported.rows(net, n))


def test_tied_weights_are_in_the_file_once(tmp_path):
    sizes = []
    for tied in ((), [(3, 2)]):
        net = MLP([5, 64, 64, 64, 3], tied=tied, seed=0)
        net.to_onnx(tmp_path / "net.onnx")
        sizes.append((tmp_path / "net.onnx").stat().st_size)
    assert sizes[0] - sizes[1] == pytest.approx(4 * 64 * 64, abs=200)


def test_what_a_file_says_of_itself(tmp_path):
    net = MLP([2, 3, 1], seed=0)
    net.feature_names = ["width", "height"]
    net.to_onnx(tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    assert (model.producer_name, model.producer_version) == ("fastmlp", __version__)
    (names,) = model.metadata_props
    assert names.key == "feature_names"
    assert json.loads(names.value) == ["width", "height"]
    assert [one.name for one in model.graph.input] == ["X"]
    assert [one.name for one in model.graph.output] == ["outputs"]
    assert model.doc_string == repr(net)


def test_a_file_that_cannot_be_written_stays_as_it_was(tmp_path):
    with pytest.raises(FileNotFoundError, match="path must be in an existing folder"):
        MLP([2, 1]).to_onnx(tmp_path / "nowhere" / "net.onnx")
    with pytest.raises(TypeError, match="path must be a string or a path"):
        MLP([2, 1]).to_onnx(3)


def test_without_onnx_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("fastmlp.export.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"to_onnx needs the package onnx, .* pip install"):
        MLP([2, 1]).to_onnx(tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


def test_a_stage_without_a_reader_is_told(tmp_path, monkeypatch):
    monkeypatch.delitem(graph.READERS, "layer_norm")
    with pytest.raises(NotImplementedError, match="the stage 'layer_norm' cannot be exported"):
        MLP([2, 3, 1], norm="layer").to_onnx(tmp_path / "net.onnx")


@compiled_only
def test_a_network_that_was_trained(tmp_path):
    """Batch norm's statistics are those that training has measured."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    net = MLP([3, 8, 8, 1], norm="batch", dropout=0.1, seed=0)
    net.fit(X, X[:, 0] * X[:, 1], epochs=3, seed=0)
    check(net, tmp_path / "net.onnx", X)
