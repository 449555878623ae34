"""The shipped digits, and the readers of IDX and CSV files."""

import bz2
import csv
import gzip
import io
import lzma
import math
import os
import re
import struct
import threading
import tracemalloc
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from marks import compiled_only

from fastmlp.datasets import csv_table, load_csv, load_digits, load_idx

# --------------------------------------------------------------------------- digits


def test_digits_have_the_shape_types_and_class_counts_of_the_published_test_set():
    X, y = load_digits()
    assert X.shape == (1797, 64)
    assert X.dtype == np.float32
    assert X.flags.c_contiguous
    assert X.min() == 0.0
    assert X.max() == 1.0
    assert y.dtype == np.int64
    # "Class distribution" of the description in the UCI repository.
    assert np.bincount(y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_first_digit_is_the_zero_that_opens_the_uci_file():
    X, y = load_digits("float64")
    published = [0, 0, 5, 13, 9, 1, 0, 0, 0, 0, 13, 15, 10, 15, 5, 0]
    assert (16 * X[0, :16]).tolist() == published
    assert y[0] == 0


def test_digits_equal_the_copy_in_scikit_learn():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    expected_X, expected_y = sklearn_datasets.load_digits(return_X_y=True)
    X, y = load_digits("float64")
    # Exact: dividing small integers by a power of two loses nothing.
    np.testing.assert_array_equal(X * 16, expected_X)
    np.testing.assert_array_equal(y, expected_y)


def test_each_call_gives_its_own_digits():
    X, y = load_digits()
    X[:] = -1
    y[:] = -1
    X_again, y_again = load_digits()
    assert X_again.min() == 0
    assert y_again.min() == 0


def test_digits_are_shipped_with_their_citation_and_licence():
    notice = (resources.files("fastmlp.datasets") / "digits.txt").read_text(encoding="utf-8")
    for required in ("Alpaydin", "Kaynak", "10.24432/C50P49", "CC BY 4.0", "Changes"):
        assert required in notice


def test_digits_refuse_another_dtype():
    with pytest.raises(ValueError, match="dtype must be float32 or float64, got 'int32'"):
        load_digits("int32")


# --------------------------------------------------------------------------- IDX

# NumPy type of the array, type code in the file, struct format of one element.
IDX_TYPES = [
    ("uint8", 0x08, "B"),
    ("int8", 0x09, "b"),
    ("int16", 0x0B, "h"),
    ("int32", 0x0C, "i"),
    ("float32", 0x0D, "f"),
    ("float64", 0x0E, "d"),
]


def idx_bytes(code, struct_format, shape, elements):
    """Write the format by its definition, element by element."""
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)
    return header + struct.pack(f">{len(elements)}{struct_format}", *elements)


def plain(content):
    return content


COMPRESSIONS = {"gzip": gzip.compress, "bzip2": bz2.compress, "xz": lzma.compress}
any_encoding = pytest.mark.parametrize(
    "encode", [plain, *COMPRESSIONS.values()], ids=["plain", *COMPRESSIONS]
)
VALID_IDX = idx_bytes(0x08, "B", (2, 3), range(6))


@any_encoding
@pytest.mark.parametrize("shape", [(), (5,), (2, 3), (3, 2, 2), (2, 1, 2, 3), (0, 28, 28)], ids=str)
@pytest.mark.parametrize(("dtype", "code", "struct_format"), IDX_TYPES)
def test_idx_gives_back_what_was_written(tmp_path, dtype, code, struct_format, shape, encode):
    limits = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
    values = [limits.min, limits.max, 1, 0, 2, 3, 5, 8, 13, 21, 34, 55][: math.prod(shape)]
    path = tmp_path / "array"  # no suffix: only the content tells how it is compressed
    path.write_bytes(encode(idx_bytes(code, struct_format, shape, values)))

    array = load_idx(path)

    assert array.dtype == np.dtype(dtype)
    assert array.dtype.isnative
    assert array.shape == shape
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert array.ravel().tolist() == values


@settings(deadline=None)
@given(
    hnp.arrays(
        dtype=st.sampled_from([np.dtype(name) for name, _, _ in IDX_TYPES]),
        shape=hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=4),
    )
)
def test_idx_keeps_every_bit_of_any_array(tmp_path_factory, array):
    code = {name: code for name, code, _ in IDX_TYPES}[array.dtype.name]
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    path = tmp_path_factory.mktemp("idx") / "array"
    path.write_bytes(header + array.astype(array.dtype.newbyteorder(">")).tobytes())

    loaded = load_idx(path)

    assert (loaded.shape, loaded.dtype) == (array.shape, array.dtype)
    assert loaded.tobytes() == array.tobytes()  # bits, so that NaN counts as equal to itself


def test_idx_takes_the_path_as_a_string(tmp_path):
    path = tmp_path / "array.idx"
    path.write_bytes(VALID_IDX)
    assert load_idx(str(path)).tolist() == [[0, 1, 2], [3, 4, 5]]


@any_encoding
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not an IDX file: its first bytes are []"),
        (b"\0\0\x08", "not an IDX file: its first bytes are [00 00 08]"),
        (b"\x89PNG\r\n", "not an IDX file: its first bytes are [89 50 4e 47]"),
        (b"\0\0\x0a\x01" + bytes(8), "not an IDX file: its first bytes are [00 00 0a 01]"),
        (VALID_IDX[:9], "truncated: a header of 2 dimensions takes 12 bytes, but it holds 9"),
        (VALID_IDX[:-1], "truncated: shape (2, 3) of uint8 takes 6 bytes of data, but it holds 5"),
        (VALID_IDX[:12], "truncated: shape (2, 3) of uint8 takes 6 bytes of data, but it holds 0"),
        (
            VALID_IDX + b"\0",
            "longer than its header says: shape (2, 3) of uint8 takes 6 bytes of data, "
            "but it holds more than 6",
        ),
        (idx_bytes(0x08, "B", (1,) * 65, [7]), "maximum supported dimension"),
        (idx_bytes(0x0E, "d", (0, *[2**32 - 1] * 3), []), "array is too big"),
    ],
    ids=[
        "empty",
        "three bytes",
        "PNG",
        "unknown type code",
        "cut in the header",
        "cut in the data",
        "no data",
        "one byte too many",
        "65 dimensions",
        "empty but beyond NumPy",
    ],
)
def test_idx_says_what_is_wrong_with_a_file(tmp_path, content, fault, encode):
    path = tmp_path / "bad.idx"
    path.write_bytes(encode(content))
    with pytest.raises(ValueError, match=re.escape(fault)) as raised:
        load_idx(path)
    assert repr(str(path)) in str(raised.value)


@any_encoding
def test_idx_allocates_no_memory_on_the_word_of_a_header(tmp_path, encode):
    path = tmp_path / "bad.idx"
    path.write_bytes(encode(idx_bytes(0x0E, "d", (2**32 - 1, 2**32 - 1), [1.0, 2.0])))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="truncated"):
            load_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 * 2**20  # the header promises 128 EiB; xz has a dictionary of 8 MiB


def cut_in_the_stream(sound):
    return sound[: len(sound) // 2]


def cut_at_the_end(sound):
    return sound[:-1]


def change_a_bit_of_the_last_checksum(sound):
    return sound[:-8] + bytes([sound[-8] ^ 1]) + sound[-7:]


def append_garbage(sound):
    return sound + b"garbage"


def damage_a_second_stream(sound):
    """Streams may follow each other; the standard library takes this for the end of the first."""
    return sound + sound[:2] + b"?" + sound[3:]


READERS = pytest.mark.parametrize(
    ("load", "content"),
    [
        (load_idx, idx_bytes(0x0B, "h", (3000,), range(3000))),
        (lambda path: load_csv(path, "y"), b"x,y\n" + b"1,2\n" * 20_000),
    ],
    ids=["idx", "csv"],
)


@pytest.mark.parametrize(
    "damage",
    [
        cut_in_the_stream,
        cut_at_the_end,
        change_a_bit_of_the_last_checksum,
        append_garbage,
        damage_a_second_stream,
    ],
)
@pytest.mark.parametrize("kind", COMPRESSIONS)
@READERS
def test_damage_in_a_compressed_file_is_one_clear_error(tmp_path, load, content, kind, damage):
    path = tmp_path / "array"
    path.write_bytes(COMPRESSIONS[kind](content))
    load(path)  # sound so far

    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=f"path {str(path)!r} is a damaged {kind} file: "):
        load(path)


@pytest.mark.parametrize(
    "damage",
    [lambda sound: sound[:2], lambda sound: sound[:10] + b"\xff" + sound[11:]],
    ids=["cut to the magic", "a reserved type of block"],
)
@READERS
def test_other_damage_in_a_gzip_file_is_one_clear_error(tmp_path, load, content, damage):
    path = tmp_path / "array"
    path.write_bytes(damage(gzip.compress(content, mtime=0)))
    with pytest.raises(ValueError, match=f"path {str(path)!r} is a damaged gzip file: "):
        load(path)


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_streams_that_follow_each_other_are_one_table(tmp_path, kind):
    """So do pigz, pbzip2 and ``cat`` write them."""
    path = tmp_path / "table"
    path.write_bytes(b"".join(map(COMPRESSIONS[kind], [b"x,y\n1,", b"", b"2\n3,4\n"])))
    X, y, _ = load_csv(path, "y")
    assert (X.tolist(), y.tolist()) == ([[1], [3]], [2, 4])


@pytest.mark.parametrize(
    ("kind", "head"), [("zip", b"PK\x03\x04\x14\0"), ("zstd", b"\x28\xb5\x2f\xfd\x24\x08")]
)
@pytest.mark.parametrize("load", [load_idx, load_csv], ids=["idx", "csv"])
def test_other_compressions_are_named(tmp_path, load, kind, head):
    path = tmp_path / "table.csv"
    path.write_bytes(head + bytes(50))
    with pytest.raises(ValueError, match=f"is a {kind} file; it must be plain, or compressed by"):
        load(path)


# What can be read only once


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
@any_encoding
def test_a_pipe_is_read_once_and_byte_by_byte(tmp_path, encode):
    """A pipe brings what was written so far: a first byte alone tells no compression."""
    path = tmp_path / "pipe"
    os.mkfifo(path)

    def write():
        with open(path, "wb", buffering=0) as pipe:
            for byte in encode(b"x,y\n1,2\n3,4\n"):
                pipe.write(bytes([byte]))

    writer = threading.Thread(target=write)
    writer.start()
    X, y, names = load_csv(path, "y")
    writer.join()
    assert (X.tolist(), y.tolist(), names) == ([[1], [3]], [2, 4], ["x"])


@any_encoding
def test_an_open_file_is_read_from_where_it_is_and_left_open(encode):
    table, array = (encode(content) for content in (b"x,y\n1,2\n", VALID_IDX))
    with io.BytesIO(b"skipped" + table) as file:
        file.seek(7)
        X, y, _ = load_csv(file, "y")
        assert not file.closed
    assert (X.tolist(), y.tolist()) == ([[1]], [2])
    with io.BytesIO(array) as file:
        assert load_idx(file).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_file_open_for_text_is_refused():
    with pytest.raises(TypeError, match=r"file .* must be open for bytes, not for text"):
        load_csv(io.StringIO("x,y\n1,2\n"), "y")


@pytest.mark.parametrize("load", [load_idx, lambda path: load_csv(path, "y")], ids=["idx", "csv"])
def test_missing_file_and_wrong_path_type(tmp_path, load):
    path = tmp_path / "absent"
    message = re.escape(f"path {str(path)!r} does not exist; it must name an existing file")
    with pytest.raises(FileNotFoundError, match=message):
        load(path)
    with pytest.raises(IsADirectoryError, match=re.escape(repr(str(tmp_path)))):
        load(tmp_path)
    # An integer would be taken for a file descriptor.
    with pytest.raises(TypeError, match=r"path must be a str or an os.PathLike, got int"):
        load(0)


# --------------------------------------------------------------------------- MNIST

MNIST = Path(
    os.environ.get("FASTMLP_MNIST")
    or Path(__file__).resolve().parents[2] / "shared" / "data" / "mnist"
)


@pytest.mark.mnist
@pytest.mark.skipif(not MNIST.is_dir(), reason=f"no MNIST files in {MNIST}; set FASTMLP_MNIST")
@pytest.mark.parametrize(
    ("part", "class_counts"),
    [
        # The well-known numbers of each digit, 0 to 9.
        ("train", [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]),
        ("t10k", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]),
    ],
)
def test_idx_reads_mnist(part, class_counts):
    images = load_idx(MNIST / f"{part}-images-idx3-ubyte.gz")
    labels = load_idx(MNIST / f"{part}-labels-idx1-ubyte.gz")
    assert images.shape == (sum(class_counts), 28, 28)
    assert images.dtype == labels.dtype == np.uint8
    assert np.bincount(labels).tolist() == class_counts
    if part == "train":
        # The constants everyone normalizes MNIST with, given to four decimals.
        assert images.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
        assert images.std() / 255 == pytest.approx(0.3081, abs=5e-5)
        assert labels[:5].tolist() == [5, 0, 4, 1, 9]


# --------------------------------------------------------------------------- CSV


@pytest.fixture(params=["as a small file", pytest.param("as a large one", marks=compiled_only)])
def write(tmp_path, request, monkeypatch):
    """Write text (or bytes) to a file and return its path.

    It is read as a small file is, and as one that is worth a compiled parser, in many blocks.
    """
    if request.param == "as a large one":
        monkeypatch.setattr(csv_table, "_COMPILED_BYTES", 0)
        monkeypatch.setattr(csv_table, "_BLOCK_BYTES", 16)

    def write(content, encode=plain):
        path = tmp_path / "table.csv"
        path.write_bytes(encode(content if isinstance(content, bytes) else content.encode()))
        return path

    return write


@any_encoding
@pytest.mark.parametrize("target", ["height", "width", "class"])
def test_csv_separates_the_target_from_the_features(write, target, encode):
    path = write("height,width,class\n1,2,3\n4,5,6\n", encode)
    X, y, feature_names = load_csv(path, target)
    columns = {"height": [1, 4], "width": [2, 5], "class": [3, 6]}
    assert y.tolist() == columns.pop(target)
    assert feature_names == list(columns)
    assert X.T.tolist() == list(columns.values())
    assert X.dtype == np.float64
    assert X.flags.c_contiguous
    assert y.dtype == np.int64


@pytest.mark.parametrize(
    ("targets", "whole"),
    [
        (["0", "1", "-2"], True),
        (["+7", " 3 ", '"4"'], True),
        (["9007199254740993", "9223372036854775807"], True),  # beyond what float64 holds exactly
        (["0", "1", "2.5"], False),
        (["0", "1.0", "2"], False),
        (["1e3", "1"], False),
        (["9223372036854775808", "1"], False),  # beyond int64
    ],
)
def test_csv_target_is_int64_only_if_written_in_whole_numbers(write, targets, whole):
    path = write("x,y\n" + "".join(f"0.5,{text}\n" for text in targets))
    _, y, _ = load_csv(path, "y", dtype="float64")
    python_type, dtype = (int, np.int64) if whole else (float, np.float64)
    assert y.dtype == dtype
    assert y.tolist() == [python_type(text.strip('" ')) for text in targets]


def test_csv_target_turns_float_by_one_late_value(write):
    # 10,000 rows take several blocks of the reader; only the last row is no whole number.
    path = write("x,y\n" + "".join(f"0,{row}\n" for row in range(9_999)) + "0,0.5\n")
    X, y, _ = load_csv(path, "y")
    assert X.shape == (10_000, 1)
    assert y.dtype == np.float64
    assert y.tolist() == [*range(9_999), 0.5]


@pytest.mark.parametrize(
    "content",
    [
        b"a,b,y\r\n1,2,3\r\n4,5,6\r\n",
        b"a,b,y\r1,2,3\r4,5,6\r",
        b"a,b,y\n1,2,3\n4,5,6",
        b"\xef\xbb\xbfa,b,y\n1,2,3\n4,5,6\n",
        b"\n\na,b,y\n\n1,2,3\n\n\n4,5,6\n\n",
        b"a, b ,y\n 1,2 ,\t3\n4, 5,6\n",
        b'"a","b",y\n"1",2,"3"\n4,"5",6\n',
        b" \n\t\na,b,y\n  \n1,2,3\n \t\r\n4,5,6\n ",
        b"a,b,y\n1,2,3\n4,5,6\n" + b"\n" * 10_000,
    ],
    ids=[
        "CRLF",
        "CR",
        "no last newline",
        "BOM",
        "empty lines",
        "blanks",
        "quotes",
        "blank lines",
        "empty tail",
    ],
)
def test_csv_ignores_how_the_table_is_laid_out(write, content):
    X, y, feature_names = load_csv(write(content), "y")
    assert X.tolist() == [[1, 2], [4, 5]]
    assert y.tolist() == [3, 6]
    assert y.dtype == np.int64
    assert feature_names == ["a", "b"]


@pytest.mark.parametrize("delimiter", [";", "\t", " ", "|"])
def test_csv_takes_another_delimiter(write, delimiter):
    path = write("a,b,y\n1,2.5,3\n".replace(",", delimiter))
    X, y, feature_names = load_csv(path, "y", delimiter=delimiter)
    assert (X.tolist(), y.tolist(), feature_names) == ([[1, 2.5]], [3], ["a", "b"])


def test_csv_names_may_be_quoted_and_of_any_script(write):
    path = write('"width, cm","say ""hi""",größe\n1,2,3\n')
    _, y, feature_names = load_csv(path, "größe")
    assert feature_names == ["width, cm", 'say "hi"']
    assert y.tolist() == [3]


@settings(deadline=None)
@given(data=st.data(), dtype=st.sampled_from(["float32", "float64"]))
def test_csv_gives_back_every_number_python_writes(tmp_path_factory, data, dtype):
    floats = st.floats(width=int(dtype[-2:]), allow_nan=False, allow_infinity=False)
    n_columns = data.draw(st.integers(2, 5))
    row = st.lists(floats, min_size=n_columns, max_size=n_columns)
    rows = data.draw(st.lists(row, min_size=1, max_size=6))
    path = tmp_path_factory.mktemp("csv") / "table.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([[f"c{i}" for i in range(n_columns)], *rows])

    X, y, _ = load_csv(path, "c1", dtype=dtype)

    # Python writes a float so that reading it restores the value, hence equality.
    assert X.dtype == y.dtype == np.dtype(dtype)
    assert np.insert(X, 1, y, axis=1).tolist() == rows


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("", " is empty"),
        ("\n\n", " is empty"),
        ("x,y\n", " has a header but no row of data"),
        ("x,y\n\n\n", " has a header but no row of data"),
        (" \n\t\n", " is empty"),
        ("x,y\n \n\t\n", " has a header but no row of data"),
        (",\n1,2\n", " names columns more than once: ''"),
        ("y\n1\n", " has no column but the target 'y'"),
        ("x,y,x,z,z\n1,2,3,4,5\n", " names columns more than once: 'x', 'z'"),
        ("x, x,y\n1,2,3\n", " names columns more than once: 'x'"),
        ("5.1, 3.5e0,-2\n1,2,3\n", ", line 1 holds numbers only; it must be a header line"),
        ('"x,y\n1,2\n', ", line 2: bad header: unexpected end of data"),
        ("x,y\n1,2\nred,4\n", ", line 3, column 'x': 'red' is not a number"),
        ("x,y\n1,2\n3,NA\n", ", line 3, column 'y': 'NA' is not a number"),
        ("x,y\n1_000,2\n", ", line 2, column 'x': '1_000' is not a number"),
        ("x,y\n1,1_000\n", ", line 2, column 'y': '1_000' is not a number"),
        ("x,y\n1,٣\n", ", line 2, column 'y': '٣' is not a number"),
        ("x,y\n1,0x10\n", ", line 2, column 'y': '0x10' is not a number"),
        ('x,y\n"1,5",2\n', ", line 2, column 'x': '1,5' is not a number"),
        ("x,y\n1,# 2\n", ", line 2, column 'y': '# 2' is not a number"),
        ("x,y\n1,2\n\n,4\n", ", line 4, column 'x': the cell is empty"),
        ("x,y\n1, \n", ", line 2, column 'y': the cell is empty"),
        ("x,y\n1,2\n3\n", ", line 3 has 1 cells, but the header names 2 columns"),
        ("x,y\n1,2\n3,4,5\n", ", line 3 has 3 cells, but the header names 2 columns"),
        ("x,y\n1,2,\n", ", line 2 has 3 cells, but the header names 2 columns"),
        ("x,y\n1,2\n,\n", ", line 3, column 'x': the cell is empty"),
        ("x,y\n  \n1,2\n \t \n3\n", ", line 5 has 1 cells, but the header names 2 columns"),
        ("x,y\nnan,2\n", ", line 2, column 'x': 'nan' is not a finite float64 number"),
        ("x,y\n1,2\n3,-inf\n", ", line 3, column 'y': '-inf' is not a finite float64 number"),
        ("x,y\n1e309,2\n", ", line 2, column 'x': '1e309' is not a finite float64 number"),
        ('x,y\n1,2\n3,"4\n5,6\n', ", line 3: bad cell: unexpected end of data"),
        ('x,y\n1,2\n3,"4', ", line 3: bad cell: unexpected end of data"),
        ('x,y\n1,"2"3\n', ", line 2: bad cell: ',' expected after '\"'"),
        (b"x,y\n1,2\n3,\xff\n", ", line 3, column 'y': the cell is not UTF-8"),
        ("größe,y\n1,2\n".encode("latin-1"), ", line 1: the name of column 1 is not UTF-8"),
        ("x,y\n1,2\n".encode("utf-16"), ", line 1: the name of column 1 is not UTF-8"),
    ],
)
def test_csv_says_where_a_file_is_wrong(write, content, fault):
    path = write(content)
    with pytest.raises(ValueError, match="^" + re.escape(f"path {str(path)!r}{fault}")):
        load_csv(path, "y")


def test_csv_counts_lines_across_blocks_and_empty_lines(write):
    # The header is on line 2, the bad cell on line 2 + 9000 + 1 + 1.
    path = write("\nx,y\n" + "1,2\n" * 9_000 + "\n" + "3,bad\n" + "1,2\n" * 9_000)
    with pytest.raises(ValueError, match="line 9004, column 'y': 'bad' is not a number"):
        load_csv(path, "y")


def test_csv_value_too_large_for_float32_fits_float64(write):
    path = write("x,y\n1e39,2\n")
    X, _, _ = load_csv(path, "y")
    assert X[0, 0] == 1e39
    with pytest.raises(ValueError, match="column 'x': '1e39' is not a finite float32 number"):
        load_csv(path, "y", dtype="float32")


def test_csv_keeps_the_digits_of_points_in_time(write):
    """Seconds of Unix: float32 has one number for 128 of them."""
    seconds = range(1_700_000_000, 1_700_000_400)
    X, _, _ = load_csv(write("t,y\n" + "".join(f"{t},0.5\n" for t in seconds)), "y")
    assert X[:, 0].tolist() == list(seconds)


@pytest.mark.parametrize("header", ["x", "x,y"])
def test_csv_without_a_target_is_all_features(write, header):
    row = ["1", "2"][: header.count(",") + 1]
    X, y, names = load_csv(write(f"{header}\n{','.join(row)}\n\n"))
    assert X.tolist() == [[float(cell) for cell in row]]
    assert y is None
    assert names == header.split(",")


@pytest.mark.parametrize("delimiter", [" ", "\t"])
def test_csv_line_of_blank_delimiters_is_a_row_of_empty_cells(write, delimiter):
    path = write(f"x{delimiter}y\n1{delimiter}2\n{delimiter}\n")
    with pytest.raises(ValueError, match="line 3, column 'x': the cell is empty"):
        load_csv(path, delimiter=delimiter)


def test_csv_unknown_target_lists_the_columns(write):
    path = write("x,y\n1,2\n")
    message = f"target 'z' is not a column of path {str(path)!r}; its columns are 'x', 'y'"
    with pytest.raises(ValueError, match=re.escape(message) + "$"):
        load_csv(path, "z")


def test_csv_unknown_target_of_a_wide_table_keeps_the_list_short(write):
    path = write(",".join(f"pixel{i}" for i in range(784)) + "\n")
    with pytest.raises(ValueError, match=r"'pixel0', 'pixel1', .*'pixel19' and 764 more$"):
        load_csv(path, "label")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"target": -1}, TypeError, r"target must be a column name \(str\) or None, got"),
        ({"delimiter": None}, TypeError, "delimiter must be a str, got NoneType"),
        ({"delimiter": ""}, ValueError, "delimiter must be one character .* got ''"),
        ({"delimiter": ", "}, ValueError, "delimiter must be one character .* got ', '"),
        ({"delimiter": "\n"}, ValueError, r"delimiter must be one character .* got '\\n'"),
        ({"delimiter": "."}, ValueError, r"delimiter must be one character .* got '\.'"),
        ({"dtype": "int64"}, ValueError, "dtype must be float32 or float64, got 'int64'"),
        ({"dtype": "banana"}, ValueError, "dtype must be float32 or float64, got 'banana'"),
        ({"dtype": None}, ValueError, "dtype must be float32 or float64, got None"),
    ],
)
def test_csv_refuses_bad_options(write, options, error, message):
    path = write("x,y\n1,2\n")
    with pytest.raises(error, match=message):
        load_csv(path, **{"target": "y", **options})
