"""Rows of a CSV file as bytes: numbers against float, whole rows against the csv module."""

from decimal import Decimal

import numpy as np
import pytest
import reference
from marks import compiled_only

from fastmlp.kernels.csv_text import (
    COPIED,
    HAS_MISSING,
    HAS_OTHERS,
    HAS_WHOLE,
    IS_WHOLE,
    LEFT_OUT,
    LENGTH,
    LINE,
    POSITION,
    ROW,
    TARGET,
    parse_rows,
    powers_of_ten,
    table_rows,
    whole_rows,
)

pytestmark = compiled_only

POWERS = powers_of_ten()
MARKS = np.frombuffer(b"NA\n?\n", np.uint8)


def parse(text, places, dtype="float64", delimiter=",", most=10_000_000):
    """X, the target as float and as int, and the cursor, after all rows that are understood."""
    n_rows = min(text.count("\n") + 1, most)
    X = np.zeros((n_rows, sum(place >= 0 for place in places)), dtype)
    y, whole = np.zeros(n_rows, dtype), np.zeros(n_rows, np.int64)
    cursor = np.array([0, 0, ord(delimiter), 1])
    characters = np.frombuffer(text.encode(), np.uint8)
    parse_rows.serial(characters, np.array(places), POWERS, X, y, whole, cursor)
    n = cursor[1]
    return X[:n], y[:n], whole[:n], cursor


def assert_read(texts, dtype="float64", rare=0.0):
    """Each is what float makes of it, or left out, as that share of them may be."""
    expected = np.array([float(text) for text in texts]).astype(dtype)
    n_left_out, begin = 0, 0
    while begin < len(texts):
        X, *_ = parse("\n".join(texts[begin:]), [0], dtype)
        there = expected[begin : begin + len(X)]
        different = X[:, 0].view(f"u{there.itemsize}") != there.view(f"u{there.itemsize}")
        assert not different.any(), texts[begin + different.argmax()]
        begin += len(X) + 1
        n_left_out += begin <= len(texts)
    assert n_left_out <= rare * len(texts)


RNG = np.random.default_rng(0)
ANY = RNG.integers(0, 2**64, 3000, np.uint64).view(np.float64)
ANY = ANY[np.isfinite(ANY) & (np.abs(ANY) > 1e-307)]
USUAL = RNG.normal(size=3000) * 10.0 ** RNG.integers(-6, 7, 3000)


@pytest.mark.parametrize("numbers", [ANY, USUAL], ids=["of any bits", "usual"])
@pytest.mark.parametrize("written", ["{!r}", "{:.18e}", "{:.15g}", "{:.4f}", "{:.25e}", "{:+.3E}"])
def test_numbers_are_those_of_float_to_the_last_bit(numbers, written):
    if "f}" in written:
        numbers = numbers[np.abs(numbers) < 1e15]
    assert_read([written.format(number) for number in numbers.tolist()], rare=0.02)


def test_numbers_in_float32_are_casts_of_those_of_float():
    assert_read([repr(float(number)) for number in USUAL], "float32")


def test_integers_of_all_lengths_are_those_of_float():
    lengths = RNG.integers(1, 31, 3000)
    integers = ["".join(map(str, RNG.integers(0, 10, n))) for n in lengths]
    assert_read([f"{integer}." for integer in integers], rare=0.01)
    assert_read([integer for integer in integers if len(integer) <= 18])


def test_numbers_half_way_between_two_floats_go_to_the_even_one():
    odd = [str(2**53 + 2 * int(n) + 1) + "e0" for n in RNG.integers(0, 2**51, 500)]
    middles = []
    for number in USUAL[np.abs(USUAL) < 1][:500].tolist():
        middle = (Decimal(number) + Decimal(float(np.nextafter(number, 2)))) / 2
        middles.append(f"{middle:.18e}")
    assert_read([*odd, *middles])


@pytest.mark.parametrize(
    "text",
    [
        *("0", "-0", "-0.0", "007", ".5", "5.", "1e5", "1E+05", "1e-05", " 1", "1 ", "\t1\t", "+3"),
        *("0.0000000000000000000000000000012345678901234567", "1" + "0" * 40 + ".5", "0e999"),
    ],
)
def test_forms_of_numbers(text):
    assert_read([text])


@pytest.mark.parametrize(
    "cell",
    [
        *(" ", "x", "1x", "--1", "+", ".", "e5", "1e", "1e+", "1_000", "nan", "inf", "0x10", "1 2"),
        *("1,2", '"1"', "1e309", "1e-320", "1\r2", "٣", "1" * 400, "1e99999", "1" * 19),
    ],
)
def test_the_reading_stops_at_rows_that_are_not_understood(cell):
    text = f"1\n\n2\r\n{cell}\n3\n"
    X, *_, cursor = parse(text, [0])
    assert X.tolist() == [[1], [2]]
    assert cursor[POSITION] == len("1\n\n2\r\n")


def test_what_float32_cannot_hold_is_not_understood_as_such():
    assert len(parse("1\n1e39\n", [0], "float64")[0]) == 2
    assert len(parse("1\n1e39\n", [0], "float32")[0]) == 1


@pytest.mark.parametrize("seed", range(20))
def test_cells_go_to_their_places(seed):
    """Of rows of which some are too short, too long or no numbers."""
    rng = np.random.default_rng(seed)
    n_columns = int(rng.integers(1, 6))
    roles = rng.choice(["feature", "target", "left out"], n_columns, p=[0.6, 0.2, 0.2]).tolist()
    roles[0], roles[1:] = "feature", ["left out" if r == "target" else r for r in roles[1:]]
    if n_columns > 2:
        roles[2] = "target"
    n_features = roles.count("feature")
    order = rng.permutation(n_features)
    numbers = iter(order.tolist())
    codes = {"target": TARGET, "left out": LEFT_OUT}
    places = [next(numbers) if role == "feature" else codes[role] for role in roles]
    cells = ["1", "-2.5", "3e2", " 4 ", "1e-3"]
    rows = [rng.choice(cells, n_columns).tolist() for _ in range(50)]
    for row in rows:
        for i, role in enumerate(roles):
            if role == "left out":
                row[i] = str(rng.choice(["anything", "", "ä", "1"]))
    if seed % 2:
        rows[30] = rows[30][:-1] or ["red"]
    text = str(rng.choice(["\n", "\r\n"])).join(map(",".join, rows))
    X, y, _, cursor = parse(text, places)
    expected_X, expected_y, read = reference.parse_rows(text, roles)
    np.testing.assert_array_equal(X[:, order], expected_X)
    if "target" in roles:
        np.testing.assert_array_equal(y, expected_y)
    assert cursor[POSITION] == len(read.encode())


def test_a_target_is_whole_until_it_is_not():
    def is_whole(*cells):
        *_, whole, cursor = parse("\n".join(cells), [TARGET])
        return whole.tolist() if cursor[IS_WHOLE] else None

    assert is_whole("1", "-22", "+3", "-0", "007", "999999999999999999") == [
        *(1, -22, 3, 0, 7, 999999999999999999),
    ]
    assert is_whole("-9007199254740993") == [-9007199254740993]  # which no float64 is
    assert is_whole("1", "2.0") is None
    assert is_whole("1", "2e3", "5") is None


def test_reading_ends_where_the_matrix_does_and_goes_on_from_there():
    text = "1\n2\n3\n"
    X, *_, cursor = parse(text, [0], most=2)
    assert (X.tolist(), cursor[POSITION]) == ([[1], [2]], 4)


@pytest.mark.parametrize("seed", range(30))
def test_tables_are_read_as_far_as_they_are_understood(seed):
    """Numbers that may be missing, and cells that are copied: also of rows that are wrong."""
    rng = np.random.default_rng(seed)
    delimiter = str(rng.choice([",", "\t"]))
    roles = rng.choice(["number", "copied", "left out"], int(rng.integers(2, 6))).tolist()
    others = ["red", "", "ä b", '"a, b\t"', ' "say ""so"""']
    cells_of = {"number": ["1", "-2.5", "", " ", "3e2", " 4", "1 ", "NA", " ?"], "copied": others}
    cells_of["left out"] = others
    rows = [[str(rng.choice(cells_of[role])) for role in roles] for _ in range(30)]
    if seed % 3 == 1:
        rows[20] = [["red"] * len(roles), rows[20][1:], ["1"] * (len(roles) + 1)][seed // 3 % 3]
    if seed % 3 == 2:
        strange = ['a"b', '"a"b', '"a', "9007199254740993", "1e400", "N", "NA?"]
        rows[20][0] = str(rng.choice(strange))
    text = str(rng.choice(["\n", "\r\n", "\n\n"])).join(map(delimiter.join, rows))
    n_numbers = roles.count("number")
    order = rng.permutation(n_numbers)
    numbers = iter(order.tolist())
    codes = {"copied": COPIED, "left out": LEFT_OUT}
    places = [next(numbers) if role == "number" else codes[role] for role in roles]
    content = text.encode()
    X, kinds = np.zeros((n_numbers, 70)), np.zeros(n_numbers, np.int64)
    copied, cursor = np.zeros(len(content) + 1, np.uint8), np.array([0, 0, ord(delimiter), 0])
    characters = np.frombuffer(content, np.uint8)
    table_rows.serial(characters, np.array(places), POWERS, MARKS, X, kinds, copied, cursor)
    expected, expected_copied, read = reference.table_rows(text, roles, ["NA", "?"], delimiter)
    assert cursor[POSITION] == len(read.encode())
    assert cursor[ROW] == len(expected)
    assert bytes(copied[: cursor[LENGTH]]).decode() == expected_copied
    for place, column in zip(order, zip(*expected, strict=True), strict=False):
        numbers = [np.nan if one is None else float(one) for one in column]
        np.testing.assert_array_equal(X[place, : len(expected)], numbers)
        assert bool(kinds[place] & HAS_MISSING) == (None in column)
        assert bool(kinds[place] & HAS_WHOLE) >= any(isinstance(one, int) for one in column)
        assert bool(kinds[place] & HAS_OTHERS) >= any(isinstance(one, float) for one in column)


def test_whole_numbers_of_a_table_are_those_that_float64_has():
    def kind_of(cell):
        kinds, cursor = np.zeros(1, np.int64), np.array([0, 0, ord(","), 0])
        text = np.frombuffer(f"{cell}\n".encode(), np.uint8)
        X, copied = np.zeros((1, 1)), np.zeros(len(text) + 1, np.uint8)
        table_rows.serial(text, np.array([0]), POWERS, MARKS, X, kinds, copied, cursor)
        return kinds[0] if cursor[ROW] else None

    assert kind_of("9007199254740991") == kind_of("-7") == HAS_WHOLE
    assert kind_of("1.0") == kind_of("1e20") == HAS_OTHERS
    assert kind_of("9007199254740993") is None
    assert kind_of("  ") is None  # no cell, where there is one column


@pytest.mark.parametrize("seed", range(40))
def test_whole_rows_are_those_of_the_csv_module(seed):
    rng = np.random.default_rng(seed)
    pieces = ["a", "bc", "1.5", "ä", ",", ",", ",", "\n", "\n", "\r\n", " "]
    if seed % 2:
        pieces += ['"q"', '"a,b"', '"a\nb"', '"say ""so"""', '"', '""']
    for _ in range(200):
        text = "".join(rng.choice(pieces, 12)) + "\n"
        cursor = np.array([0, 0, ord(",")])
        whole_rows.serial(np.frombuffer(text.encode(), np.uint8), 2, cursor)
        found = text.encode()[: cursor[POSITION]].decode()
        assert cursor[LINE] == len(found.splitlines())
        expected = reference.whole_rows(text, 2)
        # It may stop early, at a row that is written in a rare way, never late.
        assert expected.startswith(found)
        if '"' not in text and " \n" not in text:
            assert found == expected
