"""Files of any bytes are read rightly or refused in a sentence, and left as they are.

The right reading is that of the format's own library, or of Python's csv.
"""

import csv
import io
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import numpy as safetensors

from fastmlp import MLP
from fastmlp.cli import main
from fastmlp.datasets import load_csv, load_idx
from fastmlp.tabular.reading import MISSING, Reading, read_table

MORE = settings(max_examples=100)  # of what is made quickly
ANY_BYTES = st.binary(max_size=200)


@st.composite
def damaged(draw, sound):
    """Bytes of a sound file with some of them changed, put in, taken out or repeated."""
    content = bytearray(sound)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        stop = min(len(content), start + draw(st.integers(0, 12)))
        content[start:stop] = draw(st.one_of(st.binary(max_size=12), st.just(content[:stop])))
    return bytes(content)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


def kept(path, content):
    assert path.read_bytes() == content


def attempt(call, *arguments):
    """What a call returns, and None; or None, and the sentence of its ValueError."""
    try:
        return call(*arguments), None
    except ValueError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) > 20, "a mere name of a missing key is no sentence"
    return None, message


# Model files

NET = MLP([2, 3, 2], output="softmax", seed=0)


def ordered(path):
    """Bytes of a file of tensors, its texts in order: safetensors has another one in every run."""
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model"
    NET.save(path)
    return ordered(path)


def loads_or_refuses(path, content, load=MLP.load):
    path.write_bytes(content)
    net, refusal = attempt(load, path)
    assert refusal is None or refusal.startswith("path must be ")
    kept(path, content)
    return net


def check_reading(net, content):
    tensors = safetensors.load(content)
    for layer, (weights, biases) in enumerate(zip(net.weights, net.biases, strict=True)):
        np.testing.assert_array_equal(weights, tensors[f"weights.{layer}"])
        np.testing.assert_array_equal(biases, tensors[f"biases.{layer}"])
    assert np.isfinite(net.theta).all()


@MORE
@given(data=st.data())
def test_model_files(data, folder, model):
    content = data.draw(st.one_of(ANY_BYTES, damaged(model)))
    net = loads_or_refuses(folder / "model", content)
    if net is not None:
        check_reading(net, content)


@MORE
@given(data=st.data())
def test_headers_of_model_files(data, folder, model):
    """With the header's length put right, so that more of what is wrong is looked at."""
    length = int.from_bytes(model[:8], "little")
    header = data.draw(damaged(model[8 : 8 + length]))
    content = len(header).to_bytes(8, "little") + header + model[8 + length :]
    net = loads_or_refuses(folder / "model", content)
    if net is not None:
        check_reading(net, content)


@pytest.fixture(scope="module")
def estimator(tmp_path_factory):
    pytest.importorskip("sklearn")
    from fastmlp import MLPClassifier

    path = tmp_path_factory.mktemp("estimator") / "estimator"
    X = np.random.default_rng(0).normal(size=(20, 2))
    classifier = MLPClassifier((2,), max_iter=200, solver="lbfgs", standardize=True, random_state=0)
    classifier.fit(X, np.where(X[:, 0] > 0, "yes", "no")).save(path)
    return ordered(path)


@MORE
@given(data=st.data())
def test_estimators(data, folder, estimator):
    from fastmlp import MLPClassifier

    length = int.from_bytes(estimator[:8], "little")
    header = data.draw(damaged(estimator[8 : 8 + length]))
    content = len(header).to_bytes(8, "little") + header + estimator[8 + length :]
    loaded = loads_or_refuses(folder / "estimator", content, MLPClassifier.load)
    if loaded is not None:
        assert loaded.predict(np.zeros((1, 2))).shape == (1,)


# Checkpoints


def fit(net, path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(12, 2))
    net.fit(X, X.argmax(axis=1), epochs=3, batch_size=4, checkpoint=path, seed=0)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("checkpoint") / "checkpoint"
    net = NET.copy()
    fit(net, path)
    return ordered(path), net.theta.tobytes()


@MORE
@given(data=st.data())
def test_checkpoints(data, folder, checkpoint):
    sound, end = checkpoint
    length = int.from_bytes(sound[:8], "little")
    header = data.draw(damaged(sound[8 : 8 + length]))
    content = data.draw(
        st.one_of(
            ANY_BYTES,
            damaged(sound),
            st.just(len(header).to_bytes(8, "little") + header + sound[8 + length :]),
        )
    )
    path, net = folder / "checkpoint", NET.copy()
    path.write_bytes(content)
    _, refusal = attempt(fit, net, path)
    if refusal is None:
        assert net.theta.tobytes() == end
    else:
        assert refusal.startswith("checkpoint must be ")
        assert net.theta.tobytes() == NET.theta.tobytes()
        kept(path, content)


# Tables

FINITE = st.floats(allow_nan=False, allow_infinity=False)
CELLS = st.one_of(
    st.floats().map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["", " ", '"1"', '"', "1_0", "0x1", "1,2", "\0", "é", "٣", "#", "1e999"]),
    st.text(alphabet='0123456789.,+-eE "_\r\t\0xinfa', max_size=8),
)
LINES = st.lists(st.one_of(st.lists(CELLS, max_size=4).map(",".join), CELLS), max_size=6)
TABLES = st.builds(
    lambda header, lines, end: end.join([header, *lines]).encode(),
    st.sampled_from(["x,y", "y", "x,y,z", ""]),
    LINES,
    st.sampled_from(["\n", "\r\n", "\r"]),
)
SOUND_TABLES = st.builds(
    lambda rows: "".join(f"{line}\n" for line in ["x,y", *rows]).encode(),
    st.lists(st.builds("{!r},{!r}".format, FINITE, st.one_of(FINITE, st.integers())), min_size=1),
)
COMPRESSED = st.builds(
    bytes.__add__,
    st.sampled_from([b"\x1f\x8b", b"BZh91AY&SY", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]),
    ANY_BYTES,
)


def read_by_csv(content):
    """Header and cells as Python's csv and float read them, without lines of blanks."""
    text = io.StringIO(content.decode("utf-8-sig"), newline=None)
    rows = [row for row in csv.reader(text, strict=True) if row[1:] or "".join(row).strip()]
    return [name.strip() for name in rows[0]], [[float(cell) for cell in row] for row in rows[1:]]


@MORE
@given(
    content=st.one_of(ANY_BYTES, TABLES, SOUND_TABLES, COMPRESSED),
    target=st.sampled_from([None, "y"]),
)
def test_tables(content, target, folder):
    path = folder / "table.csv"
    path.write_bytes(content)
    read, refusal = attempt(load_csv, path, target)
    kept(path, content)
    if refusal is not None:
        assert refusal.startswith((f"path {str(path)!r}", "target 'y' is not a column of path"))
        return
    X, y, names = read
    header, rows = read_by_csv(content)
    table = np.insert(X, header.index(target), y, axis=1) if target else X
    assert names == [name for name in header if name != target or target is None]
    np.testing.assert_array_equal(table, rows)


CELLS = st.text(alphabet='ab1 .,;|\t"-/:\r\n0é?', max_size=6)
ROWS = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=6)
QUOTING = st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL])


def written_by_csv(rows, quoting, delimiter=","):
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=quoting).writerows([("x", "y"), *rows])
    return text.getvalue().encode()


@MORE
@given(
    content=st.one_of(
        ANY_BYTES,
        TABLES,
        SOUND_TABLES,
        COMPRESSED,
        st.builds(written_by_csv, ROWS, QUOTING, st.sampled_from(",;\t|")),
    ),
    target=st.sampled_from([None, "y"]),
)
def test_tables_of_any_columns(content, target):
    pytest.importorskip("pandas")
    table, refusal = attempt(read_table, io.BytesIO(content), target)
    if refusal is None:
        assert len(table.features) > 0
        assert "y" not in table.features or target is None


@MORE
@given(rows=ROWS, quoting=QUOTING)
def test_tables_of_texts(rows, quoting):
    pytest.importorskip("pandas")
    content = written_by_csv(rows, quoting)
    reading = Reading(["x", "y"], {"x", "y"})
    table, refusal = attempt(read_table, io.BytesIO(content), None, (), reading)
    text = io.StringIO(content.decode(), newline="")
    read = [row for row in csv.reader(text, skipinitialspace=True) if row[1:]][1:]
    if refusal is None:
        missing = table.features.isna().to_numpy()
        expected = np.array(read, object)
        np.testing.assert_array_equal(missing, np.isin(expected, MISSING))
        assert (table.features.to_numpy(object)[~missing] == expected[~missing]).all()
    else:
        assert "no row of data" in refusal
        assert not read


@given(content=ANY_BYTES.map(b"\0\0".__add__))
def test_arrays(content, folder):
    path = folder / "array"
    path.write_bytes(content)
    _, refusal = attempt(load_idx, path)
    assert refusal is None or refusal.startswith(f"path {str(path)!r}")
    kept(path, content)


@pytest.mark.filterwarnings("ignore:rounding to float32 merges")  # as it may, of any table
@given(data=st.data())
def test_predictions_of_any_files(data, folder, model):
    """The program ends in a line, and what was there is left unless it is replaced."""
    model_path, table, out = folder / "net", folder / "data.csv", folder / "out.csv"
    model_path.write_bytes(data.draw(st.one_of(st.just(model), damaged(model))))
    table.write_bytes(data.draw(st.one_of(TABLES, SOUND_TABLES)))
    out.write_text("mine")
    status = main(["predict", str(model_path), str(table), "--out", str(out)])
    assert status in (0, 2)
    if status == 0:
        assert re.match("class,probability_0,probability_1\n", out.read_text())
    else:
        kept(out, b"mine")
    assert sorted(folder.glob(".*")) == []
