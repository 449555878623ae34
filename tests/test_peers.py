"""The command that times fastmlp beside its peers: everything about it but the times."""

import dataclasses
import gzip
import importlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import reference
from numpy.testing import assert_allclose, assert_array_equal

from asv_bench.benchmarks import mnist
from asv_bench.peers import __main__ as command
from asv_bench.peers import (
    clock,
    libraries,
    machine,
    minimizations,
    networks,
    pieces_fastmlp,
    processes,
    report,
    rounds,
    tasks,
)

ROOT = Path(__file__).parents[1]

# Seconds of a step with one thread and with two, as if they had been measured.
FAKE_SECONDS = {
    "fastmlp": (10e-6, 8e-6),
    "jax": (20e-6, 24e-6),
    "torch": (200e-6, 300e-6),
    "torch-compiled": (2.5e-3, 1.5e-3),
    "scikit-learn": (400e-6, 350e-6),
}


def fake_measure(what, name, n_threads):
    if what == "peak":
        return 200.0 * n_threads
    return FAKE_SECONDS[what][n_threads - 1]


@pytest.fixture
def no_clock(monkeypatch):
    """Replace every measurement by FAKE_SECONDS, with all libraries installed."""
    monkeypatch.setattr(rounds, "measure_apart", fake_measure)
    monkeypatch.setattr(libraries, "installed", lambda library: True)


def choose(*arguments):
    return command.chosen(command.build_parser().parse_args(arguments))


# Networks


def test_a_specification_says_what_is_trained():
    task = tasks.network("20-64-32-3:tanh:50:softmax")
    workload = task.workload
    assert workload.sizes == (20, 64, 32, 3)
    assert (workload.activation, workload.output, workload.batch) == ("tanh", "softmax", 50)
    X, y = task.data()
    assert X.shape == (50 * workload.steps, 20)
    assert y.shape == (50 * workload.steps,)
    assert y.max() < 3


@pytest.mark.parametrize(
    "specification",
    [
        "",
        "online2",
        "20-64-1:tanh",
        "20:tanh:64",
        "20-0-1:tanh:64",
        "20-64-1:selu:64",
        "20-64-1:tanh:0",
        "20-64-1:tanh:64:sigmoid",
        "20-64-1:tanh:64:softmax:1",
    ],
)
def test_other_specifications_are_refused(specification):
    with pytest.raises(ValueError, match="a network is given as sizes:activation:batch"):
        tasks.network(specification)


def test_random_networks_are_those_of_their_seed():
    drawn = tasks.random_networks(20, seed=3)
    assert drawn == tasks.random_networks(20, seed=3)
    assert drawn[:5] == tasks.random_networks(5, seed=3)
    assert drawn != tasks.random_networks(20, seed=4)


def test_random_networks_lie_in_their_range_and_are_found_by_name():
    for task in tasks.random_networks(300, seed=0):
        *widths, n_out = task.workload.sizes
        assert 1 <= len(widths) - 1 <= 8
        assert 1 <= min(widths) <= max(widths) <= 2048
        assert 1 <= n_out <= 100
        assert 1 <= task.workload.batch <= 4096
        assert tasks.find(task.name) == task


def test_a_network_has_several_steps_and_data_that_fit_into_memory():
    for task in tasks.random_networks(100, seed=1):
        workload = task.workload
        numbers = workload.n_rows * (workload.sizes[0] + workload.sizes[-1])
        assert workload.n_rows == workload.steps * workload.batch
        assert workload.steps >= 2
        assert numbers <= 2**25 or workload.steps == 2


@pytest.mark.parametrize("name", tasks.TRAINING)
def test_every_mini_batch_of_a_workload_is_full(name, monkeypatch, tmp_path):
    monkeypatch.setattr(mnist, "FOLDER", tmp_path / "nowhere")
    workload = tasks.TRAINING[name].workload
    n_rows = len(workload.data()[0])
    assert n_rows == workload.steps * (workload.batch or n_rows)


def test_workloads_for_mnist_have_its_images_where_they_are(monkeypatch, tmp_path):
    """Two images and their labels in the format of its files."""
    monkeypatch.setattr(mnist, "FOLDER", tmp_path)
    images = np.arange(2 * 784, dtype=np.uint8).reshape(2, 28, 28)
    for name, array in (("images-idx3", images), ("labels-idx1", np.array([7, 1], np.uint8))):
        header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        with gzip.open(tmp_path / f"train-{name}-ubyte.gz", "wb") as file:
            file.write(header + array.tobytes())
    X, y = tasks.TRAINING["mnist512"].workload.data()
    assert X.dtype == np.float32
    assert_array_equal(X, images.reshape(2, 784).astype(np.float32) / 255)
    assert_array_equal(y, [7, 1])
    assert not tasks.TRAINING["wide1024"].workload.has_images


# Networks with pieces


@pytest.mark.parametrize("name", tasks.PIECES)
def test_a_network_with_pieces_has_full_mini_batches_and_is_found_by_name(name):
    task = tasks.find(name)
    network = task.workload
    X, y = task.data()
    assert task.kind == "pieces"
    assert len(X) == len(y) == network.steps * network.batch
    assert X.shape[-1] == network.sizes[0]
    assert X.dtype == np.float32


def test_codes_of_all_columns_are_rows_of_one_table():
    network = small("realmlp")
    X, _ = network.data()
    numbers, codes = network.split(X)
    assert_array_equal(numbers, X[:, :20])
    for k in range(5):
        assert_array_equal(codes[:, k], X[:, 20 + k] + 50 * k)


def test_operations_of_networks_with_pieces():
    network = small("members")
    # forward and weights' gradients of 20-256-256-1 for 16 members, and inputs' but the first's
    products = 20 * 256, 256 * 256, 256
    assert network.flops == 2 * 8 * 16 * (2 * products[0] + 3 * products[1] + 3 * products[2])
    # in 28 steps the inputs' products and the recurrent ones, then the output layer's
    assert small("rnn").flops == 2 * 8 * (28 * (2 * 28 * 64 + 3 * 64 * 64) + 3 * 64 * 10)


def small(name):
    """The network of that name with mini-batches of 8 rows, two of them."""
    return dataclasses.replace(networks.NETWORKS[name], batch=8, n_rows=16, steps=2)


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_peers_have_the_same_network(name):
    """Without dropout JAX and PyTorch have one loss and gradient up to float32's rounding.

    Sums of a few hundred terms: 1e-5 is some 100 units in the last place.
    """
    jax = pytest.importorskip("jax")
    torch = pytest.importorskip("torch")
    pieces_jax = importlib.import_module("asv_bench.peers.pieces_jax")
    pieces_torch = importlib.import_module("asv_bench.peers.pieces_torch")
    network = small(name)
    X, y = network.data()
    data = (*network.split(X), y)
    value, grads = jax.value_and_grad(lambda params: pieces_jax.loss(network, params, *data))(
        network.start()
    )
    params = pieces_torch.parameters(network)
    batch = [torch.from_numpy(array) for array in data]
    loss = pieces_torch.loss(network, params, *batch)
    loss.backward()
    assert loss.item() == pytest.approx(float(value), rel=1e-5)
    for theirs, ours in zip(grads, params, strict=True):
        assert theirs.keys() == ours.keys()
        for key, grad in theirs.items():
            assert_allclose(ours[key].grad, grad, rtol=0, atol=1e-5 * np.abs(grad).max())


@pytest.mark.parametrize("name", networks.NETWORKS)
def test_ours_is_the_network_of_the_peers(name):
    """The same loss for the same parameters, up to float32's rounding as above."""
    pytest.importorskip("jax")
    pieces_jax = importlib.import_module("asv_bench.peers.pieces_jax")
    network = dataclasses.replace(small(name), dropout=0.0)
    X, y = network.data()
    net = pieces_fastmlp.build(network)
    views, start = dict(net.parameters), by_our_names(network)
    assert views.keys() == start.keys()
    for key, values in start.items():
        views[key][:] = values
    theirs = pieces_jax.loss(network, network.start(), *network.split(X), y)
    assert net.loss(X, y) == pytest.approx(float(theirs), rel=1e-5)


def by_our_names(network):
    """`Network.start` by the names of `MLP.parameters`."""
    inputs, *layers = network.start()
    start = {}
    for ours in ("frequencies", "phases", "weights", "biases") if network.n_periodic else ():
        start[f"periodic[0].{ours}"] = inputs[{"weights": "W", "biases": "b"}.get(ours, ours)]
    first = 0
    for column, n in enumerate(network.categories, start=network.n_periodic):
        start[f"embedding[{column}]"] = inputs["table"][first : first + n]
        first += n
    names = {"W": "weights", "b": "biases", "r": "member_inputs", "s": "member_outputs"}
    names |= {"scale": "norm_scale", "shift": "norm_shift", "alpha": "activation", "U": "recurrent"}
    for i, layer in enumerate(layers):
        for key, values in layer.items():
            if network.members > 1 and i == len(layers) - 1:
                start |= {f"{names[key]}[{i}][{m}]": own for m, own in enumerate(values)}
            else:
                start[f"{names[key]}[{i}]"] = values
    return start


def test_the_one_hot_matrix_is_the_same_network():
    """Gathered rows of W are summed in another order than a product does."""
    net, X, y = pieces_fastmlp.one_hot(dense=False, n_rows=8)
    dense, dense_X, _ = pieces_fastmlp.one_hot(dense=True, n_rows=8)
    assert_array_equal(dense_X.sum(1), 10)
    dense.theta[:] = net.theta
    assert net.loss(X, y) == pytest.approx(dense.loss(dense_X, y), rel=1e-5)


def test_pytorchs_recurrent_module_is_the_loop():
    torch = pytest.importorskip("torch")
    pieces_torch = importlib.import_module("asv_bench.peers.pieces_torch")
    network = small("rnn")
    params = pieces_torch.parameters(network)
    batch = [torch.from_numpy(array) for array in network.data()]
    module = pieces_torch.recurrent(params[1])
    loss = pieces_torch.loss(network, params, *batch, module=module)
    assert loss.item() == pytest.approx(pieces_torch.loss(network, params, *batch).item(), rel=1e-5)


@pytest.mark.parametrize("library", ["jax", "torch"])
def test_dropout_changes_the_loss_and_not_by_much(library):
    """Half of the time it is more, half less: the mean of some masks is near the loss without."""
    package = pytest.importorskip(library)
    room = importlib.import_module(f"asv_bench.peers.pieces_{library}")
    network = dataclasses.replace(small("tiny"), sizes=(20, 64, 1), batch=64, n_rows=64, steps=1)
    data = network.data()
    if library == "jax":
        params = network.start()
        keys = [package.random.key(seed) for seed in range(20)]
        losses = [float(room.loss(network, params, *data, key=key)) for key in keys]
    else:
        package.manual_seed(0)
        params = room.parameters(network)
        data = [package.from_numpy(array) for array in data]
        losses = [room.loss(network, params, *data, training=True).item() for _ in range(20)]
    without = room.loss(network, params, *data).item()
    assert len(set(losses)) == 20
    assert np.mean(losses) == pytest.approx(without, rel=0.1)


# The command line


def test_without_options_the_workloads_are_timed_beside_all_peers():
    timed, figures, minimized = choose()
    assert [task.name for task, _ in timed] == [
        "digits13k",
        "tabular",
        "online",
        "matexp",
        "mnist512",
        "wide1024",
    ]
    assert all(names == list(libraries.LIBRARIES) for _, names in timed)
    assert figures == minimized == []


def test_networks_with_pieces_have_the_peers_that_can_have_them():
    timed, figures, minimized = choose("--pieces")
    assert [task.name for task, _ in timed] == ["modern", "realmlp", "members", "tiny", "rnn"]
    assert all(names == ["fastmlp", "jax", "torch", "torch-compiled"] for _, names in timed)
    assert figures == minimized == []
    timed, *_ = choose("--pieces", "rnn", "--peers", "jax")
    assert timed == [(tasks.PIECES["rnn"], ["fastmlp", "jax"])]


def test_networks_have_two_peers_unless_others_are_asked_for():
    timed, *_ = choose("--random", "2", "--seed", "5", "--network", "4-8-1:relu:16")
    assert [task.name for task, _ in timed] == [
        "4-8-1:relu:16",
        *(task.name for task in tasks.random_networks(2, 5)),
    ]
    assert all(names == ["fastmlp", "jax", "torch"] for _, names in timed)
    timed, *_ = choose("--network", "4-8-1:relu:16", "--peers", "torch-compiled")
    assert timed[0][1] == ["fastmlp", "torch-compiled"]


def test_figures_are_calls_beside_peers_that_have_them_and_others_alone():
    timed, figures, _ = choose("--figures")
    assert [task.name for task, _ in timed] == list(tasks.CALLS)
    peers = {task.name: names for task, names in timed}
    assert peers["predict1"] == list(libraries.LIBRARIES)
    assert peers["loss_and_grad"] == ["fastmlp", "jax", "torch"]
    assert {"lbfgs_share", "scipy_share", "import", "memory-gradient"} <= set(figures)
    assert choose("--figures", "import") == ([], ["import"], [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workloads", "mnist"], "invalid choice: 'mnist'"),
        (["--network", "4-8-1"], "got '4-8-1'"),
        (["--pieces", "gru"], "invalid choice: 'gru'"),
        (["--random", "0"], "must be at least 1, got 0"),
        (["--peers", "theano"], "invalid choice: 'theano'"),
        (["--lbfgs", "9-9-9"], "invalid choice: '9-9-9'"),
        (["--json", "no/such/folder/peers.json"], "got no/such/folder/peers.json"),
    ],
)
def test_bad_options_are_refused_before_anything_is_timed(arguments, message, capsys):
    with pytest.raises(SystemExit) as exit:
        command.main(arguments)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_it_runs_from_the_root_of_a_clone():
    arguments = [sys.executable, "-m", "asv_bench.peers", "--help"]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--random" in done.stdout


def test_a_peer_that_is_not_installed_is_skipped_and_said_so(monkeypatch, capsys):
    missing = libraries.Library("JAX", "no_such_package", "jax")
    monkeypatch.setitem(libraries.LIBRARIES, "jax", missing)
    monkeypatch.setattr(rounds, "measure_apart", fake_measure)
    arguments = ["--workloads", "online", "--peers", "jax", "--rounds", "1", "--threads", "1"]
    assert command.main(arguments) == 0
    output, progress = capsys.readouterr()
    assert "JAX is not installed: skipped" in progress
    assert "Not installed, and skipped: JAX." in output


def test_a_peer_that_fails_is_left_out_and_tried_once(monkeypatch, no_clock, capsys):
    calls = []

    def measure(what, name, n_threads):
        calls.append(what)
        if what == "torch-compiled":
            raise processes.Failed("no compiler")
        return fake_measure(what, name, n_threads)

    monkeypatch.setattr(rounds, "measure_apart", measure)
    arguments = ["--workloads", "online", "--rounds", "3", "--threads", "1"]
    assert command.main(arguments) == 0
    output, progress = capsys.readouterr()
    assert calls.count("torch-compiled") == 1
    assert calls.count("torch") == 3
    assert "online, 1 thread, torch.compile: left out: no compiler" in progress
    assert "Left out: online, 1 thread, torch.compile: no compiler" in output


def test_figures_are_told_as_they_come_and_the_best_round_counts(capsys):
    values = iter([3e-3, 2e-3, 2.5e-3])
    key = ("seconds", "online", 1, "jax")
    step = rounds.Measurement(key, "online, 1 thread, JAX", "s", lambda: next(values))
    results = rounds.Results()
    for told in ("3 ms", "2 ms", "2.5 ms"):
        results.take(step)
        assert capsys.readouterr().err.strip() == f"online, 1 thread, JAX: {told}"
    assert results.values == {key: 2e-3}


def test_interrupted_it_prints_what_there_is(monkeypatch, no_clock, capsys):
    def measure(what, name, n_threads):
        if what == "torch":
            raise KeyboardInterrupt
        return fake_measure(what, name, n_threads)

    monkeypatch.setattr(rounds, "measure_apart", measure)
    arguments = ["--workloads", "online", "--threads", "1", "--markdown"]
    assert command.main(arguments) == command.INTERRUPTED
    assert "| threads | fastmlp | JAX | fastest peer / ours |" in capsys.readouterr().out


# The report


def test_the_table_in_markdown(no_clock, capsys):
    arguments = ["--workloads", "tabular", "--peers", "jax", "torch-compiled", "--markdown"]
    command.main(arguments)
    lines = capsys.readouterr().out.splitlines()
    name = "tabular: 20-64-64-1 relu, batch 64, Adam"
    # 2 * 64 * (3 * (20 * 64 + 64 * 64 + 64) - 20 * 64) operations are 1.925 million
    assert lines[2:6] == [
        "|  | threads | fastmlp | JAX | torch.compile | fastest peer / ours | median of rounds | "
        "same threads | GFLOP/s | of peak |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        f"| {name} | 1 | 10.0 | 20.0 | 2,500 | 2.00 | 2.00 | 2.00 | 192.5 | 96% |",
        f"| {name} | 2 | 8.00 | 24.0 | 1,500 | 2.50 | 2.50 | 3.00 | 240.6 | 60% |",
    ]
    assert "200 GFLOP/s in float32 with 1 thread, 400 GFLOP/s in float32 with 2 threads" in lines[8]


def test_rows_where_a_peer_is_faster_are_marked(monkeypatch, no_clock, capsys):
    monkeypatch.setitem(FAKE_SECONDS, "jax", (12e-6, 9e-6))
    command.main(["--network", "4-8-1:relu:16", "--peers", "jax"])
    output = capsys.readouterr().out
    rows = [line for line in output.splitlines() if line.startswith("4-8-1:relu:16")]
    # 9 µs with two threads beat our 10 µs with one, but not those of the peer with one.
    assert ["0.90 slower" in row for row in rows] == [True, False]
    assert "Slower than a peer in 1 of 2 rows: 4-8-1:relu:16 with 1 thread." in output
    assert "Slower than a peer with as many threads in 0 of 2 rows." in output


def test_the_median_ratio_is_that_of_the_rounds(monkeypatch, no_clock, tmp_path, capsys):
    seconds = {"fastmlp": iter([10e-6, 12e-6, 11e-6]), "jax": iter([30e-6, 24e-6, 44e-6])}

    def measure(what, name, n_threads):
        return 200.0 if what == "peak" else next(seconds[what])

    monkeypatch.setattr(rounds, "measure_apart", measure)
    path = tmp_path / "peers.json"
    command.main(["--pieces", "tiny", "--peers", "jax", "--threads", "1", "--json", str(path)])
    (row,) = json.loads(path.read_text())["rows"]
    assert row["ratio"] == pytest.approx(24 / 10)
    assert row["median_ratio"] == pytest.approx(30 / 10)


def test_json_has_all_figures(no_clock, tmp_path, capsys):
    path = tmp_path / "peers.json"
    command.main(["--workloads", "online", "--threads", "1", "2", "--json", str(path)])
    content = json.loads(path.read_text())
    assert [row["threads"] for row in content["rows"]] == [1, 2]
    one, two = content["rows"]
    assert one["seconds"] == {library: times[0] for library, times in FAKE_SECONDS.items()}
    assert two["fastest_peer"] == {"library": "jax", "threads": 1, "seconds": 20e-6}
    assert two["ratio"] == pytest.approx(20 / 8)
    assert two["ratio_same_threads"] == pytest.approx(24 / 8)
    assert content["peaks"][1] == {"dtype": "float32", "threads": 2, "gflops": 400.0}
    assert content["rounds"] == 3
    assert content["skipped"] == []
    assert content["failed"] == {}
    assert content["machine"]["versions"]["numpy"]


def test_figures_of_fastmlp_alone_are_a_table_of_their_own():
    values = {("figure", "lbfgs_share", 1): 81.0, ("figure", "import", None): 0.05}
    cells = report.cells_of_figures(report.figures_of(values))
    assert [row[-1] for row in cells[1:]] == ["81 %", "50 ms"]
    assert cells[1][0].endswith("that the objective takes, 1 thread")


@pytest.mark.parametrize("here", [False, True])
def test_the_machine_is_told_with_its_vector_extension_and_its_images(here):
    found = {
        "cpu": "AMD EPYC",
        "vector_extension": "avx512f",
        "cores": 2,
        "python": "3.12.1",
        "versions": {"fastmlp": "0.1.0", "scikit-learn": "1.6"},
        "mnist": here,
    }
    images = "MNIST's" if here else "random pixels, as FASTMLP_MNIST names no folder"
    assert machine.describe(found) == (
        "AMD EPYC (avx512f), 2 cores; Python 3.12.1, fastmlp 0.1.0, scikit-learn 1.6; "
        f"images: {images}"
    )


# Minimizers

DIGITS = "64-64-32-10:float32"


def fake_run(minimizer, name, n_threads):
    """An evaluation takes a minimizer its number of ms, and a second thread half of it away."""
    each = {"fastmlp": 1e-3, "scipy": 3e-3, "scipy-jax": 5e-3, "torch": 8e-3, "optax": 6e-3}
    objectives = {"fastmlp": 0.25, "scipy": 0.25, "scipy-jax": 0.25, "torch": 0.5, "optax": 0.125}
    values = [2.0, 1.0, objectives[minimizer]]
    seconds = each[minimizer] / n_threads
    times = [seconds, 2 * seconds, 3 * seconds]
    evaluations = None if minimizer == "optax" else 3
    return minimizations.Run(times[-1], 3, evaluations, values, times)


@pytest.fixture
def no_runs(monkeypatch):
    """Replace every run by `fake_run`, with all libraries installed."""
    monkeypatch.setattr(rounds, "run_apart", fake_run)
    monkeypatch.setattr(command, "can_run", lambda minimizer: True)


def test_minimizers_alone_are_run_on_all_problems_or_those_named():
    timed, figures, minimized = choose("--lbfgs")
    assert timed == figures == []
    assert [problem.name for problem, _ in minimized] == list(minimizations.MINIMIZATIONS)
    assert dict(choose("--lbfgs", DIGITS)[2]) == {
        minimizations.MINIMIZATIONS[DIGITS]: list(minimizations.MINIMIZERS)
    }


def test_small_networks_have_scipys_solver_as_their_peer():
    (_, minimizers), *_ = choose("--lbfgs", "24-8-2:float64")[2]
    assert minimizers == ["fastmlp", "scipy"]


def test_the_tables_of_minimizers(no_runs, capsys):
    command.main(["--lbfgs", DIGITS, "--rounds", "1", "--markdown"])
    lines = capsys.readouterr().out.splitlines()
    name = "64-64-32-10 relu, digits, float32"
    assert f"| {name} | 1 | PyTorch | 3 | 3 | 24 | 8 | 0.5 | 24 |" in lines
    # All get to 0.5, which torch does last: the others in their third evaluation as well.
    assert f"| {name} | 1 | fastmlp | 3 | 3 | 3 | 1 | 0.25 | 3 |" in lines
    assert f"| {name} | 2 | optax | 3 | - | 9 | 3 | 0.125 | 9 |" in lines
    # The fastest peers have two threads: SciPy over JAX takes 2.5 ms, SciPy over ours 1.5 ms.
    assert f"| {name} | 1 | 2.50 | 2.50 | 1.50 | 1.50 |" in lines
    assert f"| {name} | 2 | 5.00 | 5.00 | 3.00 | 3.00 |" in lines


def test_runs_in_json(no_runs, tmp_path, capsys):
    path = tmp_path / "peers.json"
    arguments = ["--lbfgs", DIGITS, "--threads", "1", "--rounds", "2", "--json", str(path)]
    command.main(arguments)
    (row,) = json.loads(path.read_text())["lbfgs"]
    assert (row["problem"], row["threads"], row["target"]) == (DIGITS, 1, 0.5)
    assert list(row["runs"]) == list(minimizations.MINIMIZERS)
    assert row["runs"]["optax"]["evaluations"] is None
    assert row["runs"]["fastmlp"]["seconds_each"] == pytest.approx(1e-3)
    assert row["ratios"]["each"] == pytest.approx(5)


def test_the_fastest_run_counts(capsys):
    runs = [fake_run("scipy", DIGITS, n) for n in (1, 3, 2)]
    answers = iter(runs)
    key = ("run", DIGITS, 1, "scipy")
    label = "digits, SciPy"
    run = rounds.Measurement(key, label, "s", lambda: next(answers), minimizations.fastest)
    results = rounds.Results()
    for told in ("9 ms", "3 ms", "4.5 ms"):
        results.take(run)
        assert capsys.readouterr().err.strip() == f"{label}: {told} to an objective of 0.25"
    assert results.values == {key: runs[1]}


def test_a_minimizer_that_is_not_installed_is_skipped(monkeypatch, capsys):
    monkeypatch.setattr(rounds, "run_apart", fake_run)
    monkeypatch.setattr(command, "can_run", lambda minimizer: minimizer != "torch")
    assert command.main(["--lbfgs", DIGITS, "--rounds", "1", "--threads", "1"]) == 0
    output, progress = capsys.readouterr()
    assert "PyTorch is not installed: skipped" in progress
    assert "| PyTorch" not in output


def test_a_target_that_was_not_reached_has_no_time():
    run = fake_run("torch", DIGITS, 1)
    assert run.seconds_to(1.5) == pytest.approx(16e-3)
    assert run.seconds_to(0.1) is None


@pytest.mark.parametrize(
    ("minimizer", "name"),
    [
        *((minimizer, "4-16-3:float32") for minimizer in minimizations.MINIMIZERS),
        # optax takes five seconds to compile
        *((m, "24-8-2:float32") for m in minimizations.MINIMIZERS if m != "optax"),
    ],
)
def test_all_minimize_the_same_function_from_the_same_start(minimizer, name, monkeypatch):
    """The objective there, by NumPy; and it falls. optax tells it only after an iteration."""
    if not minimizations.can_run(minimizer):
        pytest.skip(f"needs {', '.join(minimizations.MINIMIZERS[minimizer].packages)}")
    module = minimizations.MINIMIZERS[minimizer].module
    module = importlib.import_module(f"asv_bench.peers.{module}")
    monkeypatch.setattr(module, "ITERATIONS", 5)
    monkeypatch.setattr(module, "fastest_run", lambda run: run())
    problem = minimizations.MINIMIZATIONS[name]
    run = module.run(problem, 1, minimizer)
    assert run.iterations == 5
    assert run.least < run.values[0]
    assert len(run.values) == len(run.times)
    assert sorted(run.times) == run.times
    if minimizer != "optax":
        assert run.values[0] == pytest.approx(objective_at_start(problem), rel=1e-6)


def objective_at_start(problem):
    layers = problem.start()
    X, y = problem.data()
    output = problem.workload.output
    loss = "cross_entropy" if output == "softmax" else "squared_error"
    activations = [problem.workload.activation] * (len(layers) - 1)
    return reference.objective(
        layers, X, y, activations=activations, output=output, loss=loss, l2=minimizations.L2
    )


def test_the_fastest_of_several_runs_follows_one_that_warms_up():
    runs = [minimizations.Run(seconds, 1, 1, [0.0], [0.0]) for seconds in (1e-9, 3.0, 2.0)]
    answers = iter(runs)
    assert clock.fastest_run(lambda: next(answers), seconds=0.0) is runs[2]


# Processes


def test_a_process_that_fails_says_why():
    with pytest.raises(processes.Failed, match="ValueError: too wide"):
        processes.run_python(["-c", "raise ValueError('too wide')"])


def test_a_process_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(processes, "TIMEOUT", 0.1)
    with pytest.raises(processes.Failed, match=r"took more than 0\.1 s"):
        processes.run_python(["-c", "import threading; threading.Event().wait()"])
