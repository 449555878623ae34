"""Tables in files: what pandas wrote comes back, whatever the dialect; faults are named by line."""

import bz2
import csv
import gzip
import io
import lzma

import numpy as np
import pytest
from marks import compiled_only

pandas = pytest.importorskip("pandas")
from pandas.testing import assert_frame_equal  # noqa: E402

from fastmlp.tabular import csv_rows  # noqa: E402
from fastmlp.tabular.csv_rows import find_dialect  # noqa: E402
from fastmlp.tabular.reading import Reading, read_table  # noqa: E402


def frame_of(n=30):
    rng = np.random.default_rng(0)
    size = rng.normal(size=n)
    size[3] = np.nan
    texts = ["plain", 'with "quotes"', "a, b; c", "two\nlines", "tab\tbar|"]
    return pandas.DataFrame(
        {
            "size": size,
            "count": rng.integers(0, 9, n),
            "a text, of sorts": rng.choice(texts, n),
            "is it": rng.integers(0, 2, n) > 0,
            "when": pandas.Timestamp("2024-01-31 10:00") + pandas.to_timedelta(range(n), "h"),
        }
    )


@pytest.fixture(
    autouse=True, params=["a stream", pytest.param("a file in blocks", marks=compiled_only)]
)
def source(request, tmp_path, monkeypatch):
    """What `read` makes of a text: a stream, or a file that is parsed block by block."""
    monkeypatch.setitem(SOURCE, "path", tmp_path / "table" if "file" in request.param else None)
    if "file" in request.param:
        monkeypatch.setattr(csv_rows, "_COMPILED_BYTES", 0)
        monkeypatch.setattr(csv_rows, "_BLOCK_BYTES", 1 << 21)  # put back after the test


SOURCE = {"path": None}


def read(text, *arguments, **options):
    content = text if isinstance(text, bytes) else text.encode()
    if SOURCE["path"] is None:
        return read_table(io.BytesIO(content), *arguments, **options)
    csv_rows._BLOCK_BYTES = max(64, len(content) // 5)
    SOURCE["path"].write_bytes(content)
    return read_table(SOURCE["path"], *arguments, **options)


def same(found, expected):
    """Apart from dtypes of texts and units of dates, which versions of pandas choose."""
    assert [dtype.kind for dtype in found.dtypes.iloc[[0, 1, 3, 4]]] == list("fibM")
    assert_frame_equal(found, expected, check_dtype=False)


@pytest.mark.parametrize(
    ("delimiter", "decimal"),
    [(",", "."), (";", "."), (";", ","), ("\t", "."), ("\t", ","), ("|", ".")],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_what_pandas_writes_comes_back(delimiter, decimal, end):
    frame = frame_of()
    text = frame.to_csv(index=False, sep=delimiter, decimal=decimal, lineterminator=end)
    same(read(text).features, frame)


CELLS = {
    "whole": ["1", "-22", "+3", "007", " 4"],
    "whole or missing": ["1", "", "NA", "?", "-nan"],
    "large": ["9007199254740993", "-9007199254740992", "12345678901234567"],
    "numbers": ["1.5", "-2e-7", "0.1", "1e300", "3", ".5"],
    "numbers or missing": ["1.5", "", " ", "nan", "NULL"],
    "rarely infinite": ["1.5"] * 30 + ["inf", "1e999"],
    "rarely with a point": ["1"] * 40 + ["2.0"],
    "rarely a text": ["1"] * 60 + ["red"],
    "texts": ["red", "light blue", "ä", "12 m"],
    "quoted": ['"a, b"', '"two\nlines"', '"say ""so"""', "plain"],
    "texts or missing": ["", "", "", "red"],
    "booleans": ["True", "False"],
    "booleans or missing": ["true", "false", ""],
    "missing": ["", "NA"],
}


@pytest.mark.parametrize("seed", range(20))
def test_columns_are_those_of_pandas(seed):
    """To the last bit and the dtype, whatever rows are parsed together."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(CELLS), int(rng.integers(2, 7)), replace=False)
    rows = [",".join(rng.choice(CELLS[kind]) for kind in kinds) + "\n" for _ in range(150)]
    rows.insert(int(rng.integers(0, 150)), "\n")
    text = ",".join(kinds) + "\n" + "".join(rows)
    expected = pandas.read_csv(
        io.StringIO(text), skipinitialspace=True, na_values=["?"], low_memory=False
    )
    assert_frame_equal(read(text).features, expected, check_exact=True)


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_files_may_be_compressed(compress):
    frame = frame_of()
    same(read(compress(frame.to_csv(index=False).encode("utf-8-sig"))).features, frame)


def test_parquet_comes_back():
    pytest.importorskip("pyarrow")
    frame = frame_of()
    same(read(frame.to_parquet(index=False)).features, frame)
    found = read(frame.set_index("count").to_parquet(), "count")
    assert list(found.features) == ["size", "a text, of sorts", "is it", "when"]
    assert found.target.tolist() == frame["count"].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_cells_of_any_text_come_back(seed):
    """Beyond the lines by which the dialect is found, and those that are checked together."""
    rng = np.random.default_rng(seed)
    n_columns = int(rng.integers(2, 5))
    alphabet = list("abc,;\n\"' ")
    lengths = rng.integers(1, 6, (6000, n_columns))
    rows = [["x" + "".join(rng.choice(alphabet, n)) + "x" for n in row] for row in lengths]
    # A part without quotes.
    rows[1000:5500] = [["plain"] * n_columns] * 4500
    names = [f"column {i}" for i in range(n_columns)]
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows([names, *rows])
    found = read(buffer.getvalue(), reading=Reading(names, set(names)))
    assert found.features.to_numpy(object).tolist() == rows


def test_the_delimiter_is_the_one_that_fits_most_rows():
    text = "name;price, EUR;note\nAnn;1,5;a, b, c\nBob;2,5;d\n"
    assert find_dialect(text.splitlines(True)).delimiter == ";"
    text = "a,b\n1;2;3,4\n5;6;7,8\n"
    assert find_dialect(text.splitlines(True)).delimiter == ","


def test_missing_values_are_so_in_every_column():
    text = "n,t,b,y\n1,red,true,1\n,NA,,NA\n?,null,?,\nNaN,,false,2\n"
    found = read(text, "y")
    missing = [[False] * 3, [True] * 3, [True] * 3, [True, True, False]]
    assert found.features.isna().to_numpy().tolist() == missing
    assert found.features["n"].dtype == np.float64
    np.testing.assert_array_equal(found.target, [1, np.nan, np.nan, 2])


def test_none_is_a_class_of_texts_and_a_missing_number():
    assert read("a,y\n1,None\n2,Mild\n3,\n4,NA\n", "y").target.tolist()[:2] == ["None", "Mild"]
    assert read("a,y\n1,None\n2,Mild\n3,\n4,NA\n", "y").target.isna().tolist()[2:] == [True, True]
    np.testing.assert_array_equal(read("a,y\n1,None\n2,3.5\n", "y").target, [np.nan, 3.5])


@pytest.mark.parametrize(
    "written",
    [
        *("%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d", "%d.%m.%Y %H:%M"),
        *("%m/%d/%Y", "%d/%m/%Y", "%m/%d/%Y %I:%M %p", "%d-%b-%Y", "%b %d, %Y", "%H:%M"),
        "%Y-%m-%dT%H:%M:%SZ",
    ],
)
def test_dates_are_found_and_read_in_their_format(written):
    days = pandas.Series(pandas.date_range("2024-01-05 07:05", periods=40, freq="27h"))
    texts = days.dt.strftime(written)
    expected = pandas.to_datetime(texts, format=written).dt.tz_localize(None)
    texts = texts.where(texts.index != 4)
    table = read(pandas.DataFrame({"when": texts, "x": 1}).to_csv(index=False))
    found = table.features["when"]
    assert found.dtype.kind == "M"
    assert found.isna().tolist() == [i == 4 for i in range(40)]
    assert (found.drop(4) == expected.drop(4)).all()
    # A few of them, from which the format could not be told.
    few = pandas.DataFrame({"when": texts[:1]}).to_csv(index=False)
    again = read(few, reading=Reading(["when"], set(), table.dates))
    assert again.features["when"][0] == expected[0]


def test_the_clock_on_the_wall_counts():
    table = read("when,x\n2024-07-01T10:00:00+02:00,1\n2024-01-01T10:00:00+01:00,2\n")
    assert table.features["when"].dt.hour.tolist() == [10, 10]


def test_dates_may_all_be_missing():
    reading = Reading(["when"], set(), {"when": "%m/%d/%Y"})
    table = read("when,x\n,1\nNA,2\n", reading=reading)
    assert table.features["when"].isna().all()


@pytest.mark.parametrize("text", ["12-34\n56-78", "2024-13-45\n2024-01-01", "red\n2024-01-01"])
def test_what_are_no_dates_are_texts(text):
    assert read(f"a\n{text}\n").features["a"].tolist() == text.split("\n")


def test_columns_that_are_known_are_read_as_such():
    text = "id,when,code,n,n\nx,2024-01-31,007,1,2\n"
    table = read(text, reading=Reading(["code", "when"], {"code"}, {"when": None}))
    assert list(table.features) == ["code", "when"]
    assert table.features["code"].tolist() == ["007"]
    assert table.features["when"].dtype.kind == "M"
    assert read(text.replace("n,n", "n,m"), "n", ["id"]).features.columns.tolist() == [
        "when",
        "code",
        "m",
    ]


PLAIN = "1,2,3\n" * 5000
QUOTED = '1,"2",3\n' * 5000


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty; it must hold a header line and rows"),
        ("\n  \n", "is empty; it must hold a header line and rows"),
        ("a,b,y\n", "has a header but no row of data"),
        ("y\n1\n2\n", "has no column but the target 'y'; features are needed"),
        ("a,b\n1,2\n", "target 'y' is not a column of .*; its columns are 'a', 'b'"),
        ("a,a,y\n1,2,3\n", "must name each of its columns once, got 'a' more than once"),
        ("1,2\n3,4\n", "has numbers in place of a header"),
        ("a,b,y\n1,2\n", "line 2 has 2 cells, but the header names 3 columns"),
        (f"a,b,y\n{PLAIN}1,2,3,4\n", "line 5002 has 4 cells, but the header names 3 columns"),
        (f"a,b,y\n{QUOTED}1,2,3,4\n", "line 5002 has 4 cells, but the header names 3 columns"),
        (f'a,b,y\n{PLAIN}1,"2,3\n', "line 5002: bad cell: unexpected end of data"),
        (f'a,b,y\n{PLAIN}1,"2"x,3\n', "line 5002: bad cell: ',' expected after '\"'"),
        (b"a,y\n1,2\n\xe9,1\n", "is not UTF-8, of which byte 0xe9 is no part: save it as UTF-8"),
        ("a,y\n1,2\n".encode("utf-16"), "is not UTF-8"),
        (gzip.compress(b"a,y\n2,1\n" * 1000, mtime=0)[:-9], "is a damaged gzip file"),
        (b"PAR1 and nothing", "is a damaged Parquet file"),
        ("a,y\n05/04/2024,1\n", "column 'a' of .* must hold dates of which the day can be told"),
    ],
)
def test_faults_are_named(content, sentence):
    if content[:4] == b"PAR1":
        pytest.importorskip("pyarrow")
    with pytest.raises(ValueError, match=sentence):
        read(content, "y")


def test_the_first_of_several_faults_is_named():
    rows = ["1,2,3\n"] * 50
    rows[20], rows[29] = "1,2\n", '1,"2"\n'
    with pytest.raises(ValueError, match="line 22 has 2 cells"):
        read("".join(["a,b,y\n", *rows]), "y")


def test_texts_that_are_no_dates_of_the_known_format_are_named():
    reading = Reading(["when"], set(), {"when": "%d.%m.%Y"})
    with pytest.raises(ValueError, match=r"written as %d.%m.%Y, as in training, got 'x' in row 2"):
        read("when\n31.01.2024\nx\n", reading=reading)


def test_columns_that_are_not_there_are_named():
    with pytest.raises(ValueError, match="lacks 'b'; its columns are 'a', 'c'"):
        read("a,c\n1,2\n", reading=Reading(["a", "b"]))
    with pytest.raises(ValueError, match="has no column 'b' to leave out; its columns are 'a'"):
        read("a,c\n1,2\n", "c", ["b"])
