"""X that is not in memory: read in windows, with the bits of an array."""

import multiprocessing
import os
import pickle
import signal
import threading
import time
import tracemalloc

import numpy as np
import pytest
from containers import (
    Given,
    as_arrow,
    as_dask,
    as_hdf5,
    as_memmap,
    as_pandas,
    as_polars,
    as_zarr,
)
from marks import compiled_only
from numpy.testing import assert_allclose, assert_array_equal
from scipy import sparse

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    Categorical,
    LevenbergMarquardt,
    Objective,
    Rows,
    Status,
    StochasticLBFGS,
    Windowed,
    compare,
    fit_many,
)
from fastmlp.sources import orders, source, windowed
from fastmlp.sources.feed import Reading
from fastmlp.sources.streamed import Streamed

N_ROWS, N_COLUMNS = 700, 5


def make_data(dtype="float32", n_rows=N_ROWS):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n_rows, N_COLUMNS)).astype(dtype)
    return X, np.sin(X[:, 0] + X[:, 1] * X[:, 2]).astype("float32")


def make_net(**options):
    return MLP([N_COLUMNS, 8, 6, 1], seed=0, **options)


def trained(X, y, net=None, **options):
    net = make_net() if net is None else net
    options = {"epochs": 3, "seed": 1, "batch_size": 32} | options
    return net, net.fit(X, y, **options)


# The order of Windowed


@pytest.mark.parametrize("n_rows", [1, 7, 128, 129, 1000, 1023, 5000])
@pytest.mark.parametrize(("block", "blocks"), [(1, 1), (3, 4), (128, 2), (10, 7)])
def test_each_row_comes_once_in_an_epoch(n_rows, block, blocks):
    order = orders.InWindows(3, n_rows, block, blocks)
    assert_array_equal(np.sort(orders.whole_order(order)), np.arange(n_rows))
    sizes = [order.window(w).size for w in range(order.n_windows)]
    assert max(sizes) == order.largest <= block * blocks
    starts = [order.window(w).start for w in range(order.n_windows)]
    assert_array_equal(starts, np.cumsum([0, *sizes[:-1]]))
    for w, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        assert order.window_of(start) == order.window_of(start + size - 1) == w


def test_a_window_has_a_block_of_each_stretch():
    """40 blocks in 8 stretches of 5: the first window has one of blocks 0 to 4, and so on."""
    order = orders.InWindows(0, 400, 10, 8)
    assert order.n_windows == 5
    for w in range(5):
        blocks = order.window(w).runs[:, 0] // 10
        assert_array_equal(blocks // 5, np.arange(8))
        assert_array_equal(np.diff(order.window(w).runs, axis=1), 10)


def test_all_orders_of_a_window_are_as_likely():
    """Of 3 blocks of a row each in one stretch, and of the rows of a window."""
    first = [int(orders.whole_order(orders.InWindows(seed, 3, 1, 1))[0]) for seed in range(3000)]
    counts = np.bincount(first)
    # Binomial: 1000 with a standard deviation of 26; five of them.
    assert np.all(np.abs(counts - 1000) < 130)
    within = [orders.InWindows(seed, 4, 2, 1).window(0).permutation[0] for seed in range(2000)]
    assert np.all(np.abs(np.bincount(within) - 1000) < 112)


def test_all_rows_in_one_window_are_shuffled_as_an_array_is():
    X, y = make_data()
    assert_array_equal(
        trained(X, y, shuffle=Windowed())[0].theta, trained(X, y, shuffle=True)[0].theta
    )


def test_the_window_that_nobody_sized():
    megabytes = windowed.WINDOW_BYTES / 2**20
    assert megabytes == 128
    assert Windowed().count_blocks(800) * 128 * 800 == pytest.approx(2**27, rel=1e-3)
    assert Windowed(blocks=3).count_blocks(800) == 3
    assert Windowed().count_blocks(10**9) == 1


@pytest.mark.parametrize("options", [{"block": 0}, {"blocks": 0}, {"block": 2.5}])
def test_windowed_refuses_what_is_no_count(options):
    with pytest.raises((ValueError, TypeError), match="must be an integer of at least 1"):
        Windowed(**options)


# The same bits as in memory


@pytest.mark.parametrize("shuffle", [Windowed(10, 9), Windowed(32, 2), Windowed(7, 1), False])
@pytest.mark.parametrize("batch_size", [1, 32, 50, 333, None])
def test_windows_give_the_bits_of_memory(shuffle, batch_size, small_windows):
    X, y = make_data()
    weights = np.linspace(0.5, 2, N_ROWS)
    options = {"shuffle": shuffle, "batch_size": batch_size, "sample_weight": weights}
    if batch_size == 1:
        options["epochs"] = 1
    in_memory, _ = trained(X, y, **options)
    in_windows, result = trained(Given(X), y, **options)
    assert_array_equal(in_windows.theta, in_memory.theta)
    assert result.status is Status.COMPLETED


@pytest.mark.parametrize(
    "pieces",
    [
        {"dropout": 0.3},
        {"norm": "layer"},
        {"norm": "batch"},
        {"members": 3},
        {"dtype": "float64"},
    ],
)
@compiled_only
def test_networks_with_pieces_too(pieces, small_windows):
    X, y = make_data()
    options = {"shuffle": Windowed(10, 9), "batch_size": 50}
    in_memory, _ = trained(X, y, make_net(**pieces), **options)
    in_windows, _ = trained(Given(X), y, make_net(**pieces), **options)
    assert_array_equal(in_windows.theta, in_memory.theta)


@pytest.mark.parametrize("optimizer", [SGD(momentum=0.9), "rmsprop", "adam(epochs=2)+lbfgs"])
def test_optimizers_too(optimizer, small_windows):
    X, y = make_data()
    options = {"shuffle": Windowed(10, 9), "optimizer": optimizer, "clip_norm": 0.1}
    in_memory, _ = trained(X, y, **options)
    in_windows, _ = trained(Given(X), y, **options)
    assert_array_equal(in_windows.theta, in_memory.theta)


@pytest.mark.parametrize("n_threads", [1, 2, 3, 4])
@compiled_only
def test_threads_change_no_bit(n_threads, small_windows):
    X, y = make_data()
    sizes = [N_COLUMNS, 300, 300, 1]  # a network that threads share
    nets = [MLP(sizes, seed=0) for _ in range(2)]
    options = {"shuffle": Windowed(10, 20), "batch_size": 128, "epochs": 1}
    trained(X, y, nets[0], n_threads=1, **options)
    trained(Given(X), y, nets[1], n_threads=n_threads, **options)
    assert_array_equal(nets[1].theta, nets[0].theta)


@pytest.mark.parametrize("cores", [1, 2])
def test_reading_ahead_changes_no_bit_and_is_done_in_a_thread(cores, small_windows, monkeypatch):
    monkeypatch.setattr("fastmlp.sources.feed.available_cores", lambda: cores)
    X, y = make_data("float64")
    in_memory, _ = trained(X.astype("float32"), y, shuffle=Windowed(10, 9))
    # An array in memory is read without a thread where there is one core.
    from_array, _ = trained(X, y, shuffle=Windowed(10, 9))
    assert_array_equal(from_array.theta, in_memory.theta)
    rows = Given(X)
    trained(rows, y, shuffle=Windowed(10, 9))
    assert {thread for *_, thread in rows.asked[200:]} - {threading.main_thread()}


@pytest.mark.parametrize("optimizer", [LBFGS(), "conjugate_gradient", LevenbergMarquardt()])
def test_full_batches_stream_with_the_bits_of_memory(optimizer, small_windows):
    X, y = make_data()
    options = {"optimizer": optimizer, "batch_size": "auto", "epochs": 8}
    in_memory, known = trained(X, y, **options)
    in_windows, result = trained(Given(X), y, **options)
    assert_array_equal(in_windows.theta, in_memory.theta)
    assert result.loss == known.loss
    assert result.n_grad_evals == known.n_grad_evals


def test_an_objective_has_the_bits_of_memory(small_windows):
    X, y = make_data()
    net = make_net(activation="tanh")
    in_memory, in_windows = (Objective(net, rows, y, l2=0.1) for rows in (X, Given(X)))
    assert in_windows.value() == in_memory.value()
    for one, other in zip(
        (*in_windows.value_and_grad(), *in_windows.gauss_newton()),
        (*in_memory.value_and_grad(), *in_memory.gauss_newton()),
        strict=True,
    ):
        assert_array_equal(one, other)
    assert net.loss(Given(X), y) == net.loss(X, y)
    assert_array_equal(net.loss_and_grad(Given(X), y)[1], net.loss_and_grad(X, y)[1])


def test_a_stochastic_solver_takes_mini_batches_of_rows(small_windows):
    X, y = make_data()
    options = {"optimizer": StochasticLBFGS(batch_size=50), "batch_size": "auto", "epochs": 2}
    in_memory, _ = trained(X, y, **options)
    in_windows, _ = trained(Given(X), y, **options)
    assert_array_equal(in_windows.theta, in_memory.theta)


def test_standardize_reads_the_rows_in_windows(small_windows):
    X, y = make_data()
    X = X * [1, 10, 100, 0.1, 5] + [3, -2, 50, 0, 1]
    X = X.astype("float32")
    options = {"standardize": True, "shuffle": Windowed(10, 9)}
    in_memory, _ = trained(X, y, **options)
    in_windows, _ = trained(Given(X), y, **options)
    assert_array_equal(in_windows.theta, in_memory.theta)


def test_weights_that_go_by_the_data_are_drawn_by_some_rows(small_windows):
    X, y = make_data()
    options = {"shuffle": Windowed(10, 9)}
    in_memory, _ = trained(X, y, make_net(init="data"), **options)
    in_windows, _ = trained(Given(X), y, make_net(init="data"), **options)
    assert_array_equal(in_windows.theta, in_memory.theta)


def test_validation_data_may_be_rows(small_windows):
    X, y = make_data()
    held_out = X[:100], y[:100]
    _, known = trained(X, y, validation_data=held_out)
    _, result = trained(X, y, validation_data=(Given(held_out[0]), held_out[1]))
    assert_array_equal(result.trace["validation_loss"], known.trace["validation_loss"])


def test_bad_rows_of_validation_data_are_told_as_theirs(small_windows):
    X, y = make_data()
    other = X.copy()
    other[401, 3] = np.nan
    with pytest.raises(ValueError, match=r"validation_data: X must be finite, .* row 401"):
        trained(Given(X), y, validation_data=(Given(other), y))


def test_compare_takes_rows(small_windows):
    X, y = make_data()
    options = {"passes": 4, "seeds": 1, "batch_size": 50, "shuffle": Windowed(10, 9)}
    optimizers = {"adam": Adam(), "lbfgs": LBFGS()}
    of_rows = compare(make_net(), Given(X), y, optimizers, **options)
    known = compare(make_net(), X, y, optimizers, **options)
    for name in optimizers:
        one, other = of_rows.runs[name][0], known.runs[name][0]
        assert_array_equal(one.result.theta, other.result.theta)
        assert one.result.trace["objective"][-1] == other.result.trace["objective"][-1]
        assert one.score == other.score


@pytest.mark.parametrize("members", [False, True])
def test_predict_reads_rows_and_writes_where_it_is_told(members, small_windows, tmp_path):
    X, _ = make_data()
    net = MLP([N_COLUMNS, 8, 2], members=2 if members else 1, seed=0)
    known = net.predict(X, members=members)
    assert_array_equal(net.predict(Given(X), members=members), known)
    path = tmp_path / "outputs.npy"
    out = np.lib.format.open_memmap(path, "w+", "float32", known.shape)
    assert net.predict(Given(X), members=members, out=out) is out
    assert_array_equal(np.load(path), known)
    assert_array_equal(net.predict(X, members=members, out=np.empty(known.shape)), known)


@pytest.mark.parametrize(
    ("out", "message"),
    [
        (np.empty((3, 2)), r"out must have the shape \(700, 2\), got \(3, 2\)"),
        (3, "out must be an array, or anything else that takes slices of rows, got int"),
    ],
)
def test_predict_refuses_an_out_that_does_not_fit(out, message):
    X, _ = make_data()
    with pytest.raises((ValueError, TypeError), match=message):
        MLP([N_COLUMNS, 2], seed=0).predict(X, out=out)


# What X may be


KINDS = [as_memmap, as_hdf5, as_zarr, as_dask, as_pandas, as_polars, as_arrow]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8"])
@pytest.mark.parametrize("is_large", [False, True])
def test_every_kind_of_rows_is_trained_on(make, dtype, is_large, tmp_path, request):
    """As an array of its dtype, with the same order of rows."""
    if is_large:
        request.getfixturevalue("small_windows")
    X = (np.abs(make_data()[0]) * 2).astype(dtype)
    y = X[:, 0].astype("float32") - 1
    options = {"shuffle": Windowed(10, 9), "batch_size": 50, "epochs": 1}
    known, _ = trained(X.astype("float32"), y, **options)
    rows = make(X, tmp_path)
    net, _ = trained(rows, y, **options)
    assert_array_equal(net.theta, known.theta)
    assert_array_equal(net.predict(rows), known.predict(X))


def test_a_view_of_a_memory_map_is_read_from_its_place(small_windows, tmp_path):
    X, y = make_data()
    mapped = as_memmap(np.concatenate([X[:30] + 9, X]), tmp_path)[30:]
    options = {"shuffle": Windowed(10, 9)}
    assert_array_equal(trained(mapped, y, **options)[0].theta, trained(X, y, **options)[0].theta)


@pytest.mark.parametrize("container", [sparse.csr_array, sparse.csc_matrix, sparse.coo_array])
@pytest.mark.parametrize("shuffle", [True, "replacement", Windowed(10, 9)])
def test_sparse_matrices_are_shuffled_as_arrays_are(container, shuffle, small_windows):
    X, y = make_data()
    X[np.abs(X) < 0.7] = 0
    known, _ = trained(X, y, shuffle=shuffle)
    net, _ = trained(container(X), y, shuffle=shuffle)
    assert_array_equal(net.theta, known.theta)
    assert_array_equal(net.predict(container(X)), known.predict(X))


def test_columns_of_a_large_data_frame_are_found_by_name(small_windows):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = make_data()
    frame = pandas.DataFrame(X, columns=list("abcde"))
    net, _ = trained(frame, y)
    assert net.feature_names == tuple("abcde")
    assert_array_equal(net.predict(frame[list("cabed")]), net.predict(X))


def test_the_protocol_tells_rows_by_what_they_have():
    X, _ = make_data()
    assert isinstance(Given(X), Rows)
    assert not isinstance([[1.0]], Rows)


# What is not done


def test_rows_are_looked_at_only_as_they_are_trained_on(small_windows):
    """No pass before the first epoch, none after the last: each row is read once an epoch."""
    X, _ = make_data()
    fit = {"optimizer": Adam(learning_rate=0.03), "epochs": 2, "shuffle": Windowed(10, 9)}
    for options, n_passes in (({}, 2), ({"exact_loss": True}, 4)):
        rows = Given(X)
        trained(rows, X[:, 0], **fit, **options)
        assert rows.n_read == n_passes * N_ROWS


def test_the_loss_is_the_mean_over_the_last_epoch_unless_it_is_to_be_exact(small_windows):
    X, y = make_data()
    _, result = trained(Given(X), y)
    assert result.loss == result.trace["objective"][-1]
    assert result.trace[0].epoch == 1
    net, exact = trained(Given(X), y, exact_loss=True)
    assert exact.loss == net.loss(X, y)
    assert exact.trace[0].epoch == 0


def test_a_time_limit_within_an_epoch_gives_the_mean_so_far(small_windows):
    X, y = make_data()

    class Slow(Given):
        def __getitem__(self, rows):
            time.sleep(0.01)
            return super().__getitem__(rows)

    _, result = trained(Slow(X), y, shuffle=Windowed(10, 9), epochs=1000, time_limit=0.2)
    assert result.status is Status.TIME_LIMIT
    assert np.isfinite(result.loss)


def test_memory_does_not_grow_with_the_rows():
    """Two windows are reserved, whatever the number of rows; buffers are read into again."""
    reserved = []

    class Counting(Given):
        def read_into(self, start, stop, out):
            base = out
            while base.base is not None:
                base = base.base
            reserved.append((id(base), base.size))
            out[:] = self.X[start:stop]

    X, y = make_data(n_rows=40_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source, "WINDOW_BYTES", 0)
        trained(Counting(X), y, shuffle=Windowed(10, 100), epochs=3)
    buffers = {size for _, size in reserved if size > 2000 * N_COLUMNS}
    assert not buffers
    assert len({which for which, size in reserved if size > 900 * N_COLUMNS}) == 2


def test_the_order_of_many_blocks_takes_few_bytes_of_each():
    tracemalloc.start()
    try:
        order = orders.InWindows(0, 10**6, 1, 10**5)
        held, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert order.n_windows == 10
    assert held < 2.2 * 10**6
    assert most < 4 * 10**6


def test_reading_that_is_cancelled_ends_with_the_run_it_is_at():
    """Not with the window: each run may take long to arrive."""
    X, y = make_data()

    class Cancelling(Given):
        def __getitem__(self, rows):
            reading._tasks.clear()
            return super().__getitem__(rows)

    rows = Cancelling(X)
    streamed = Streamed(source.OfRows(rows), y, np.empty(0, "float32"), make_net())
    window = orders.InWindows(0, N_ROWS, 10, 9).window(0)
    out = np.empty((window.size, N_COLUMNS), "float32")
    reading = Reading(streamed.source, window, [*streamed.feed(0)._tasks(window, out)])
    reading.begin(has_spare_core=False)
    reading.finish()
    assert len(window.runs) > 5
    assert len(rows.asked) == 1


# Bad rows


def test_what_is_not_finite_is_named_by_its_row_and_column(small_windows):
    X, y = make_data()
    X[401, 3] = np.nan
    for shuffle in (False, Windowed(10, 9)):
        net = make_net()
        before = net.theta.copy()
        with pytest.raises(ValueError, match="X must be finite, got nan in column 3, row 401"):
            net.fit(Given(X), y, shuffle=shuffle, seed=0)
        assert_array_equal(net.theta, before)
    with pytest.raises(ValueError, match="got nan in column 3, row 401"):
        make_net().predict(Given(X))
    with pytest.raises(ValueError, match="got nan in column 3, row 401"):
        Objective(make_net(), Given(X), y).value()
    X[2, 0] = np.inf
    with pytest.raises(ValueError, match="got inf in column 0, row 2"):
        make_net().fit(sparse.csr_array(X), y, shuffle=False)


def polars_with_null(X):
    polars = pytest.importorskip("polars", reason="polars is not installed")
    columns = {name: column.tolist() for name, column in zip("abcde", X.T, strict=True)}
    columns["d"][401] = None
    return polars.DataFrame(columns)


def arrow_with_null(X):
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    return polars_with_null(X).to_arrow()


def rows_that_turn_out_to_be_floats(X):
    rows = Given(X)
    rows.X = X.astype("float64")
    rows.X[401, 3] = np.nan
    return rows


def masked_rows(X):
    rows = Given(X)
    rows.X = np.ma.masked_array(X, np.zeros(X.shape, bool))
    rows.X[401, 3] = np.ma.masked
    return rows


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (polars_with_null, "got nan in column 3, row 401"),
        (lambda X: polars_with_null(X > 0), "got None in column 'd', row 401"),
        (arrow_with_null, "got one in column 'd', row 401"),
        (rows_that_turn_out_to_be_floats, "got nan in column 3, row 401"),
        (masked_rows, r"X\[\d+:\d+\] must not have masked values"),
    ],
)
@pytest.mark.parametrize("shuffle", [False, Windowed(10, 9)])
def test_a_missing_value_among_integers_is_found(make, message, shuffle, small_windows):
    X, y = make_data()
    net = make_net()
    before = net.theta.copy()
    with pytest.raises(ValueError, match=message):
        net.fit(make((X * 9).astype("int64")), y, shuffle=shuffle, seed=0)
    assert_array_equal(net.theta, before)


def test_arrow_batches_may_have_columns_of_booleans(small_windows):
    pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    X, y = make_data()
    batch = pa.RecordBatch.from_pydict({name: X[:, i] > 0 for i, name in enumerate("abcde")})
    options = {"shuffle": Windowed(10, 9), "epochs": 1}
    known, _ = trained((X > 0).astype("float32"), y, **options)
    assert_array_equal(trained(batch, y, **options)[0].theta, known.theta)


@pytest.mark.parametrize("dtype", [np.float32, "float32"])
def test_rows_may_name_their_dtype(dtype, small_windows):
    X, y = make_data()
    rows = Given(X)
    rows.dtype, rows.shape = dtype, list(X.shape)
    options = {"shuffle": Windowed(10, 9), "epochs": 1}
    assert_array_equal(trained(rows, y, **options)[0].theta, trained(X, y, **options)[0].theta)


def test_a_code_of_no_category_is_named_by_its_row(small_windows):
    X, y = make_data()
    X[:, 0] = np.arange(N_ROWS) % 3
    X[77, 0] = 5
    net = make_net(inputs=[Categorical(0, 3)])
    with pytest.raises(ValueError, match="in column 0, got 5 in row 77"):
        net.fit(Given(X), y)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda rows: rows[:-1], r"must return real numbers of the shape \(\d+, 5\)"),
        (lambda rows: rows[:, :4], "as many rows as the slice has"),
        (lambda rows: rows.astype(str), "must return real numbers"),
    ],
)
def test_rows_that_give_something_else_are_refused(answer, message, small_windows):
    X, y = make_data()

    class Wrong(Given):
        def __getitem__(self, rows):
            return answer(super().__getitem__(rows))

    with pytest.raises(ValueError, match=message):
        make_net().fit(Wrong(X), y)


def failing(X, when, error):
    """Rows that fail when `when()` is true."""

    class Failing(Given):
        def __getitem__(self, rows):
            if when(self):
                raise error
            return super().__getitem__(rows)

    return Failing(X)


@pytest.mark.parametrize("optimizer", [Adam(), LBFGS()])
def test_an_exception_of_the_rows_leaves_the_last_finished_epoch(optimizer, small_windows):
    X, y = make_data()
    seen = []

    def note(progress):
        seen.append(progress.theta.copy())

    batches = {} if isinstance(optimizer, LBFGS) else {"shuffle": Windowed(10, 9)}
    rows = failing(X, lambda _: len(seen) == 3, ConnectionError("the disk is gone"))
    net = make_net()
    with pytest.raises(ConnectionError, match="the disk is gone"):
        net.fit(rows, y, optimizer=optimizer, epochs=9, callbacks=note, seed=0, **batches)
    assert_array_equal(net.theta, seen[-1].astype("float32"))


@pytest.mark.parametrize("columns", [slice(None), slice(1, 4)])
@pytest.mark.parametrize("change", ["cut", "written"])
def test_a_file_that_changes_while_it_is_read_is_refused(change, columns, small_windows, tmp_path):
    X, y = make_data()
    mapped = as_memmap(X, tmp_path)[:, columns]
    path = tmp_path / "X.npy"

    def alter(progress):
        if progress.record.epoch == 2 and change == "cut":
            os.truncate(path, 5000)
        elif progress.record.epoch == 2:
            with open(path, "r+b") as file:
                file.seek(4000)
                file.write(b"\0")
                os.utime(path, ns=(0, 0))

    net, seen = MLP([mapped.shape[1], 8, 1], seed=0), []
    with pytest.raises(ValueError, match=r"X\.npy.* could not be read"):
        net.fit(mapped, y, callbacks=[lambda p: seen.append(p.theta.copy()), alter], seed=0)
    assert_array_equal(net.theta, seen[1])


def test_other_bad_rows_are_refused_before_anything_is_changed():
    X, y = make_data()
    net = make_net()
    before = net.theta.copy()
    for rows, error, message in [
        (Given(X[:, :4]), ValueError, r"X must have the shape \(n, 5\)"),
        (Given(X[:0]), ValueError, "X must have at least one row"),
        (Given(X.astype(str)), TypeError, "X must hold real numbers, got Rows of dtype <U"),
        (Given(X[:100]), ValueError, "y must have"),
    ]:
        with pytest.raises(error, match=message):
            net.fit(rows, y[: len(rows.X)] if len(rows.X) != 100 else y)
    with pytest.raises(ValueError, match=r"shuffle must be True, False or a fastmlp\.Windowed"):
        net.fit(Given(X), y, shuffle="replacement")
    assert_array_equal(net.theta, before)


def test_dask_arrays_of_unknown_length_say_what_to_do():
    da = pytest.importorskip("dask.array", reason="Dask is not installed")
    X, y = make_data()
    rows = da.from_array(X, chunks=100)
    with pytest.raises(ValueError, match=r"known number of rows, .*compute_chunk_sizes\(\)"):
        make_net().fit(rows[rows[:, 0] > 0], y)


def test_dask_frames_say_what_to_do():
    dd = pytest.importorskip("dask.dataframe", reason="Dask is not installed")
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    X, y = make_data()
    frame = dd.from_pandas(pandas.DataFrame(X, columns=list("abcde")), npartitions=3)
    with pytest.raises(ValueError, match=r"known number of rows, .*to_dask_array\(lengths=True\)"):
        make_net().fit(frame, y)
    trained(frame.to_dask_array(lengths=True), y, epochs=1)


def test_networks_at_once_need_rows_in_memory(small_windows):
    X, y = make_data()
    with pytest.raises(ValueError, match="X must be in memory for networks that train at the same"):
        fit_many([make_net(), make_net()], Given(X), y)


# Checkpoints


def train_and_die(path, checkpoint, n_reads):
    X = np.load(path, mmap_mode="r")
    y = np.sin(np.arange(len(X))).astype("float32")

    class Dying(Given):
        def __getitem__(self, rows):
            self.asked.append(1)
            if len(self.asked) > n_reads:
                os.kill(os.getpid(), signal.SIGKILL)
            return self.X[rows]

    source.WINDOW_BYTES = 0
    from fastmlp import checkpoint as module

    module._SECONDS_BETWEEN = module._WRITING_SHARE = 0
    net = make_net(dropout=0.2)
    net.fit(Dying(X), y, **RESUMED, checkpoint=checkpoint)


RESUMED = {"shuffle": Windowed(10, 9), "batch_size": 23, "epochs": 4, "seed": 3}


@pytest.mark.parametrize("n_reads", [205, 230, 243])
@compiled_only
def test_a_killed_fit_goes_on_in_the_middle_of_an_epoch(n_reads, small_windows, tmp_path):
    """To the bits of one that was not interrupted; an epoch is 70 blocks, in 8 windows."""
    X, _ = make_data()
    np.save(tmp_path / "X.npy", X)
    process = multiprocessing.get_context("spawn").Process(
        target=train_and_die, args=(tmp_path / "X.npy", tmp_path / "checkpoint", n_reads)
    )
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    y = np.sin(np.arange(N_ROWS)).astype("float32")
    rows = Given(X)
    net, known = make_net(dropout=0.2), make_net(dropout=0.2)
    result = net.fit(rows, y, **RESUMED, checkpoint=tmp_path / "checkpoint")
    others = known.fit(Given(X), y, **RESUMED)
    assert_array_equal(net.theta, known.theta)
    assert_allclose(result.trace["objective"], others.trace["objective"], rtol=0)
    # Blocks of 10 rows are what it trained on: it did not begin anew.
    n_trained = sum(stop - start for start, stop, _ in rows.asked if stop - start == 10)
    assert n_trained <= 2 * N_ROWS


def test_a_fit_that_is_over_has_its_loss_when_it_is_taken_up_again(small_windows, tmp_path):
    X, y = make_data()
    options = {"shuffle": Windowed(10, 9), "checkpoint": tmp_path / "checkpoint"}
    _, known = trained(Given(X), y, **options)
    _, result = trained(Given(X), y, **options)
    assert result.loss == known.loss == known.trace["objective"][-1]


def test_a_checkpoint_knows_rows_by_their_fingerprint(small_windows, tmp_path):
    X, y = make_data()
    options = {"shuffle": Windowed(10, 9), "checkpoint": tmp_path / "checkpoint"}

    class Named(Given):
        fingerprint = "the first"

    trained(Named(X), y, **options)
    other = Named(X)
    other.fingerprint = "another"
    with pytest.raises(ValueError, match="differs in data"):
        trained(other, y, **options)
    with pytest.raises(ValueError, match="differs in data"):
        trained(Given(X), y, **options)
    net, _ = trained(Named(X), y, epochs=4, **options)
    assert_array_equal(net.theta, trained(X, y, epochs=4, shuffle=Windowed(10, 9))[0].theta)


def test_a_checkpoint_knows_rows_without_one_by_some_blocks(small_windows, tmp_path):
    X, y = make_data(n_rows=5000)
    options = {"shuffle": Windowed(10, 90), "checkpoint": tmp_path / "checkpoint", "epochs": 1}
    trained(Given(X), y, **options)
    rows = Given(X)
    source.OfRows(rows).fingerprint()
    assert rows.n_read == 64 * 16
    X[0, 0] += 1
    with pytest.raises(ValueError, match="differs in data"):
        trained(Given(X), y, **options)


def test_the_rows_of_a_file_pickle_as_their_path(tmp_path):
    X, _ = make_data()
    rows = source.FileRows.of_memmap(as_memmap(X, tmp_path))
    assert_array_equal(pickle.loads(pickle.dumps(rows))[3:9], X[3:9])
