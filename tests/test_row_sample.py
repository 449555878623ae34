"""Samples of tables that memory has no room for: uniform, seeded, and never held as a whole."""

import gzip
import io

import numpy as np
import pytest
from scipy.stats import chisquare

from fastmlp.datasets.memory import available_memory
from fastmlp.tabular.row_sample import RowSample


def sample_of(n_rows, size, seed, block=17):
    """Numbers of the rows of a sample of rows that come in blocks."""
    sample = RowSample(size, np.random.default_rng(seed))
    for begin in range(0, n_rows, block):
        numbers = range(begin, min(begin + block, n_rows))
        sample.add(len(numbers), numbers.__getitem__)
    assert sample.n_rows == n_rows
    return sample.rows()


def test_each_row_is_equally_likely():
    n_rows, size, n_samples = 50, 12, 4000
    counts = np.zeros(n_rows)
    for seed in range(n_samples):
        counts[sample_of(n_rows, size, seed)] += 1
    # Draws without replacement vary less than the independent ones that the test is for.
    assert chisquare(counts).pvalue > 0.05
    assert counts.sum() == n_samples * size


def test_each_pair_of_rows_is_equally_likely():
    n_samples = 3000
    counts = np.zeros((6, 6))
    for seed in range(n_samples):
        counts[tuple(sample_of(6, 2, seed, block=4))] += 1
    pairs = counts[np.triu_indices(6, 1)]
    assert pairs.sum() == n_samples
    assert chisquare(pairs).pvalue > 0.01


@pytest.mark.parametrize("n_rows", [0, 1, 99, 100])
def test_all_rows_are_taken_where_there_are_not_more(n_rows):
    assert sample_of(n_rows, 100, 0) == list(range(n_rows))


def test_a_sample_follows_from_the_seed_and_not_from_blocks():
    expected = sample_of(1000, 100, seed=3, block=1000)
    assert len(set(expected)) == 100
    assert expected == sorted(expected)
    for block in (1, 64, 999):
        assert sample_of(1000, 100, 3, block) == expected
    assert sample_of(1000, 100, 4) != expected


def test_few_more_rows_are_held_than_wanted():
    alive, most = 0, 0

    class Row:
        def __init__(self, i):
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    sample = RowSample(100, np.random.default_rng(0))
    for _ in range(1000):
        sample.add(20, Row)
    assert len(sample.rows()) == alive == 100
    assert most <= 100 * 1.25 + 20


V1 = {"memory/memory.limit_in_bytes": "9223372036854771712\n"}


@pytest.mark.parametrize(
    ("own", "files", "expected"),
    [
        ("0::/\n", {}, 4096),
        ("0::/\n", {"memory.max": "max\n"}, 4096),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "2000\n"}, 2000),
        ("0::/a/b\n", {"a/b/memory.max": "1000\n", "a/memory.max": "2000\n"}, 1000),
        ("0::/a\n", {"other/memory.max": "1000\n"}, 4096),
        # A container that sees its own at the root, under the name that it has outside.
        ("0::/docker/1f\n", {"memory.max": "3000\n"}, 3000),
        ("2:cpu:/\n3:memory:/a\n", {**V1, "memory/a/memory.limit_in_bytes": "1500\n"}, 1500),
        ("3:memory:/\n", V1, 4096),
        (None, {}, 4096),
    ],
)
def test_memory_is_that_of_the_control_groups_and_of_the_machine(own, files, expected, tmp_path):
    root, machine = tmp_path / "cgroup", tmp_path / "meminfo"
    machine.write_text("MemTotal:  9 kB\nMemFree:  1 kB\nMemAvailable:       4 kB\n")
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    if own is not None:
        (tmp_path / "own").write_text(own)
    assert available_memory(root, tmp_path / "own", machine) == expected


def test_where_the_system_does_not_tell_there_is_no_limit(tmp_path):
    assert available_memory(tmp_path, tmp_path / "own", tmp_path / "meminfo") is None


# Files


def frame_of(n_rows):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    texts = ["plain", 'with "quotes"', "a, b", "two\nlines"]
    return pandas.DataFrame(
        {
            "row": np.arange(n_rows),
            "size": rng.normal(size=n_rows),
            "text": rng.choice(texts, n_rows),
            "kind": rng.choice(["good", "bad"], n_rows),
        }
    )


def write(frame, path):
    """As a file of the kind that its name tells; return what `read_table` takes."""
    if path.name.endswith("parquet"):
        pytest.importorskip("pyarrow")
        frame.to_parquet(path, row_group_size=300)
        return path
    text = frame.to_csv(index=False).encode()
    if path.name == "a pipe":
        return io.BytesIO(text)
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


NAMES = ["table.csv", "table.csv.gz", "table.parquet", "a pipe"]


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_of_a_file_has_rows_as_they_are_in_their_order(name, tmp_path):
    from fastmlp.tabular.reading import CELL_BYTES, read_table

    frame = frame_of(2000)
    memory = 500 * 4 * CELL_BYTES
    table = read_table(write(frame, tmp_path / name), "kind", memory=memory, seed=1)
    numbers = table.features["row"].to_numpy()
    assert table.n_rows == 2000
    assert 200 <= len(numbers) <= 500
    assert (np.diff(numbers) > 0).all()
    same = frame.iloc[numbers].reset_index(drop=True)
    assert table.features["size"].tolist() == same["size"].tolist()
    assert table.features["text"].tolist() == same["text"].tolist()
    assert table.target.tolist() == same["kind"].tolist()
    assert table.features.index.tolist() == list(range(len(numbers)))
    again = read_table(write(frame, tmp_path / name), "kind", memory=memory, seed=1)
    assert again.features["row"].tolist() == numbers.tolist()
    other = read_table(write(frame, tmp_path / name), "kind", memory=memory, seed=2)
    assert other.features["row"].tolist() != numbers.tolist()


@pytest.mark.parametrize("name", NAMES)
def test_what_memory_has_room_for_is_read_as_ever(name, tmp_path):
    from pandas.testing import assert_frame_equal

    from fastmlp.tabular.reading import read_table

    frame = frame_of(2000)
    table = read_table(write(frame, tmp_path / name), "kind", memory=1 << 30)
    assert table.n_rows == 2000
    plain = read_table(write(frame, tmp_path / name), "kind")
    assert_frame_equal(table.features, plain.features)
    assert table.target.tolist() == plain.target.tolist() == frame["kind"].tolist()


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_blank_lines_are_no_rows_of_a_sample(end, tmp_path):
    from fastmlp.tabular.reading import CELL_BYTES, read_table

    lines = ["a,b", *(f"{i},{i}{end}" if i % 3 else f"{i},{i}" for i in range(1, 1000)), "  "]
    (tmp_path / "table.csv").write_bytes(end.join(lines).encode())
    table = read_table(tmp_path / "table.csv", "b", memory=100 * 2 * CELL_BYTES)
    assert table.n_rows == 999
    assert len(table.features) > 50
    assert table.features["a"].tolist() == table.target.tolist()


def test_quotes_within_cells_and_short_rows_are_found_in_a_sample_too(tmp_path):
    from fastmlp.tabular.reading import CELL_BYTES, read_table

    path = tmp_path / "table.csv"
    rows = [f'{i},5" pipe,"two\n{i}"\n' for i in range(1000)]
    path.write_text("".join(["a,b,c\n", *rows]))
    table = read_table(path, "a", memory=100 * 3 * CELL_BYTES)
    assert table.n_rows == 1000
    assert 50 <= len(table.features) <= 100
    assert set(table.features["b"]) == {'5" pipe'}
    assert table.features["c"].tolist() == [f"two\n{i:.0f}" for i in table.target]
    path.write_text("".join(["a,b,c\n", *rows, "1,2\n"]))
    with pytest.raises(ValueError, match="line 2002 has 2 cells, but the header names 3 columns"):
        read_table(path, "a", memory=100 * 3 * CELL_BYTES)
