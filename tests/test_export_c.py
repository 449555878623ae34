"""Networks as files of C, compiled and compared with `predict`."""

import ctypes
import re
import shutil
import subprocess

import exported
import numpy as np
import pytest
from marks import compiled_only
from numpy.testing import assert_allclose, assert_array_equal

from fastmlp import MLP
from fastmlp.export import graph, to_c
from fastmlp.network import ACTIVATIONS

COMPILER = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
OPTIONS = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1"]

needs_compiler = pytest.mark.skipif(COMPILER is None, reason="there is no C compiler")

# Sums of up to some ten terms in another order, each rounded to 6e-8 or 1e-16, three layers deep.
TOLERANCE = {"float32": {"rtol": 2e-5, "atol": 2e-6}, "float64": {"rtol": 1e-12, "atol": 1e-13}}
DTYPES = list(TOLERANCE)


def compiled(net, folder, name="model"):
    """The function of the file that a network is written to."""
    source, library = folder / f"{name}.c", folder / f"{name}.so"
    net.to_c(source)
    command = [COMPILER, *OPTIONS, "-shared", "-fPIC", "-o", library, source, "-lm"]
    run = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return getattr(ctypes.CDLL(str(library)), f"{name}_predict")


def outputs_of(function, X, shape, dtype, *arguments):
    outputs = np.full((len(X), *shape), np.nan, dtype)
    for row, output in zip(np.ascontiguousarray(X), outputs, strict=True):
        pointers = [ctypes.c_void_p(one.ctypes.data) for one in (row, output)]
        function(pointers[0], *arguments, pointers[1])
    return outputs


def check(net, folder, X=None):
    X = exported.rows(net) if X is None else X
    expected = net.predict(X)
    steps = [X.shape[1]] if X.ndim == 3 else []
    found = outputs_of(compiled(net, folder), X, expected.shape[1:], net.dtype, *steps)
    assert_allclose(found, expected, **TOLERANCE[str(net.dtype)])


@needs_compiler
@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", exported.HIDDEN)
def test_every_hidden_activation(activation, dtype, tmp_path):
    check(exported.network(dtype, activation=activation), tmp_path)


@needs_compiler
@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("output", ACTIVATIONS)
def test_every_output_activation(output, dtype, tmp_path):
    check(exported.network(dtype, output=output), tmp_path)


def test_every_operation_is_written():
    missing = set(graph.OPERATIONS) - set(to_c.WRITERS)
    assert not missing, f"fastmlp/export/to_c.py writes no operation {missing}"


@needs_compiler
@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", exported.PIECES)
def test_every_piece(name, dtype, tmp_path):
    check(exported.network(dtype, **exported.PIECES[name]), tmp_path)


@needs_compiler
@compiled_only
@pytest.mark.parametrize("members", [1, 2])
def test_categories_alone(members, tmp_path):
    check(exported.only_categories(members=members), tmp_path)


@needs_compiler
@compiled_only
@pytest.mark.parametrize("members", [1, 3])
def test_a_network_without_hidden_layers(members, tmp_path):
    check(exported.shaken(MLP([4, 2], members=members, seed=0)), tmp_path)


@needs_compiler
@compiled_only
@pytest.mark.parametrize("sequence", ["last", "all"])
@pytest.mark.parametrize("activation", ["tanh", "leaky_relu(0.1)", "mish"])
def test_recurrent_networks(activation, sequence, tmp_path):
    net = exported.recurrent(activation=activation, sequence=sequence, output="softmax")
    check(net, tmp_path)


@needs_compiler
@compiled_only
def test_a_category_that_there_is_not_counts_as_missing(tmp_path):
    """Where `predict` would refuse it: nothing beyond a table is read."""
    net = exported.network(**exported.PIECES["inputs"])
    X = exported.rows(net, 4)
    X[:, 3:] = -1
    expected = net.predict(X)
    X[1, 3:], X[2, 3:], X[3, 3:] = 4.0, 1e30, np.inf
    found = outputs_of(compiled(net, tmp_path), X, (3,), net.dtype)
    assert_allclose(found, expected, **TOLERANCE["float32"])


@needs_compiler
@compiled_only
def test_large_and_bad_numbers_go_through_as_in_predict(tmp_path):
    """Softmax, softplus and the like do not overflow, and NaN stays NaN."""
    for name in ("softmax", "softplus", "mish", "sigmoid", "silu", "gelu", "elu"):
        net = MLP([2, 2], output=name, seed=0)
        net.theta[:] = [1, 0, 0, 1, 0, 0]
        X = np.array([[1e4, -1e4], [-1e4, 300.0], [88.0, -88.0]], np.float32)
        predict = compiled(net, tmp_path, name)
        found = outputs_of(predict, X, (2,), np.float32)
        assert_allclose(found, net.predict(X), **TOLERANCE["float32"])
        bad = outputs_of(predict, X * np.nan, (2,), np.float32)
        assert np.isnan(bad).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_parameters_are_read_back_with_their_bits(dtype, tmp_path):
    net = MLP([3, 40, 1], dtype=dtype, seed=0)
    net.theta[:6] = [0.1, 1e-40, -3.4e38, 1 / 3, 2.0**-24, 0.0]
    net.to_c(tmp_path / "model.c")
    text = (tmp_path / "model.c").read_text()
    (numbers,) = re.findall(r"weights_0\[120\] = \{(.*?)\};", text, re.S)
    read = [np.dtype(dtype).type(one.strip().removesuffix("f")) for one in numbers.split(",")]
    assert_array_equal(np.array(read), net.weights[0].ravel())


@needs_compiler
def test_two_networks_in_one_program(tmp_path):
    """A file's names are its own, but for the one function."""
    for name in ("first", "second"):
        MLP([2, 3, 1], seed=0).to_c(tmp_path / f"{name}.c")
    main = "void first_predict(const float *, float *); int main(void) { return 0; }"
    (tmp_path / "main.c").write_text(main)
    sources = [str(tmp_path / f"{name}.c") for name in ("first", "second", "main")]
    subprocess.run([COMPILER, *sources, "-o", str(tmp_path / "main"), "-lm"], check=True)


@needs_compiler
def test_names_of_features_cannot_end_the_comment(tmp_path):
    net = MLP([3, 1], seed=0)
    net.feature_names = ["*/ int x;", "größe /*", "??/\n"]
    compiled(net, tmp_path)


def test_tied_weights_are_in_the_file_once(tmp_path):
    MLP([4, 8, 8, 8, 3], tied=[(3, 2)], seed=0).to_c(tmp_path / "model.c")
    text = (tmp_path / "model.c").read_text()
    assert re.findall(r"weights_\d\[\d+\] =", text) == [
        *("weights_0[32] =", "weights_1[64] =", "weights_2[24] =")
    ]


def test_two_buffers_are_enough_for_a_chain(tmp_path):
    MLP([4, 8, 6, 7, 3], seed=0).to_c(tmp_path / "model.c")
    text = (tmp_path / "model.c").read_text()
    assert re.findall(r"float b\d\[\d+\];", text) == ["float b0[8];", "float b1[6];"]
    assert "each takes 56 bytes of its stack" in text


def test_a_name_that_no_function_can_have_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"a name that C can call a function by.*3d\.c"):
        MLP([2, 1]).to_c(tmp_path / "3d.c")
    with pytest.raises(FileNotFoundError, match="path must be in an existing folder"):
        MLP([2, 1]).to_c(tmp_path / "nowhere" / "net.c")
    MLP([2, 1]).to_c(tmp_path / "my-net.v2.c")
    assert "void my_net_v2_predict(" in (tmp_path / "my-net.v2.c").read_text()
