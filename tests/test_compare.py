"""compare: equal conditions for every optimizer, honest counts, and what it shows of them."""

import csv
import io
import signal
import sys

import numpy as np
import pytest
from scipy import optimize

from fastmlp import LBFGS, MLP, SGD, Adam, Objective, Scipy, Status
from fastmlp.compare import Comparison, compare, score
from fastmlp.monitor import Monitor
from fastmlp.result import COLUMNS, Trace

N_ROWS = 60


@pytest.fixture
def regression():
    """A small smooth problem in float64: X, y and a network to start from."""
    rng = np.random.default_rng(7)
    X = rng.normal(size=(N_ROWS, 3))
    y = np.sin(X[:, 0]) + 0.5 * X[:, 1] * X[:, 2]
    return X, y, MLP([3, 8, 1], activation="tanh", dtype="float64", seed=1)


@pytest.fixture
def classification():
    rng = np.random.default_rng(8)
    X = rng.normal(size=(N_ROWS, 4))
    y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
    return X, y, MLP([4, 6, 3], output="softmax", seed=2)


@pytest.fixture
def small(regression):
    """A finished comparison to look at."""
    X, y, net = regression
    optimizers = {"sgd": SGD(0.1), "adam, tuned": Adam(0.01), "lbfgs": LBFGS()}
    return compare(net, X, y, optimizers, passes=6, batch_size=16, seed=0)


# Equal conditions


def test_all_start_from_the_same_parameters_and_leave_the_network_alone(regression):
    X, y, net = regression
    before = net.theta.copy()
    comparison = compare(net, X, y, {"a": SGD(0.1), "b": Adam(), "c": LBFGS()}, passes=2, seed=0)
    np.testing.assert_array_equal(net.theta, before)
    starts = [result.trace[0].objective for result in comparison.results.values()]
    assert starts == [net.loss(X, y)] * 3
    assert list(comparison.results) == list(comparison.networks) == ["a", "b", "c"]


@pytest.mark.parametrize("seed", [3, None])
def test_all_see_the_rows_in_the_same_order(regression, seed):
    X, y, net = regression
    twins = {"one": SGD(0.1), "other": SGD(0.1)}
    comparison = compare(net, X, y, twins, passes=3, batch_size=7, seed=seed)
    one, other = comparison.networks.values()
    np.testing.assert_array_equal(one.theta, other.theta)


def test_a_stochastic_optimizer_does_what_it_does_in_fit(regression):
    """fit, stopped after 0, 1, ... epochs, gives the exact objective that the trace must hold."""
    X, y, net = regression
    penalties = {"l1": 1e-3, "l2": 1e-2}
    comparison = compare(
        net, X, y, {"adam": Adam(0.02)}, passes=3, batch_size=16, seed=5, **penalties
    )
    for record in comparison.results["adam"].trace:
        fitted = net.copy()
        if record.epoch:
            fitted.fit(
                X, y, optimizer=Adam(0.02), epochs=record.epoch, batch_size=16, seed=5, **penalties
            )
        value, gradient = fitted.loss_and_grad(X, y, **penalties)
        assert record.objective == value
        assert record.gradient_norm == np.linalg.norm(gradient)
    np.testing.assert_array_equal(comparison.networks["adam"].theta, fitted.theta)


def test_a_solver_that_converges_within_its_budget_does_what_it_does_in_fit(classification):
    X, y, net = classification
    options = {"l2": 0.1}  # strong enough to converge soon
    comparison = compare(net, X, y, {"lbfgs": LBFGS()}, passes=2000, **options)
    fitted = net.copy()
    result = fitted.fit(X, y, optimizer=LBFGS(), **options)
    assert comparison.results["lbfgs"].status == result.status == Status.CONVERGED
    np.testing.assert_array_equal(comparison.networks["lbfgs"].theta, fitted.theta)


# The budget


@pytest.mark.parametrize("passes", [1, 2, 7])
def test_every_optimizer_spends_the_passes_it_is_given_and_no_more(regression, passes):
    X, y, net = regression
    optimizers = {
        "sgd": SGD(0.01),
        "lbfgs": LBFGS(max_iterations=1),  # its own limit does not count here
        "cg": Scipy("CG"),
        "tnc": Scipy("TNC"),
        "trust": Scipy("trust-constr"),
    }
    comparison = compare(net, X, y, optimizers, passes=passes, batch_size=16, seed=0)
    for name, result in comparison.results.items():
        assert result.status == Status.COMPLETED, name
        assert result.trace[-1].data_passes == passes, name
        assert result.trace[-1].n_grad_evals == result.n_grad_evals, name
    assert comparison.results["sgd"].n_grad_evals == passes * 4  # 60 rows by 16
    assert comparison.results["lbfgs"].n_grad_evals == passes


@pytest.mark.parametrize("passes", [5, 12, 23])
def test_a_solver_is_left_with_its_last_iterate_within_the_budget(regression, passes):
    """SciPy, run by hand on the same objective, says which iterate that is."""
    X, y, net = regression
    objective = Objective(net, X, y)
    n_evaluations, within = 0, [objective.value()]

    def counted(theta):
        nonlocal n_evaluations
        n_evaluations += 1
        return objective.value_and_grad(theta)

    def callback(intermediate_result):
        if n_evaluations <= passes:
            within.append(intermediate_result.fun)

    options = {"maxcor": 10, "maxiter": 25}
    optimize.minimize(
        counted, net.theta, jac=True, method="L-BFGS-B", callback=callback, options=options
    )
    assert n_evaluations > passes
    result = compare(net, X, y, {"lbfgs": LBFGS()}, passes=passes).results["lbfgs"]
    assert result.loss == within[-1]
    assert result.n_iter == len(within) - 1


def test_the_last_record_is_where_the_optimizer_ended(regression):
    X, y, net = regression
    # A line search of TNC's has left the iterate behind when the passes are over.
    comparison = compare(net, X, y, {"tnc": Scipy("TNC"), "sgd": SGD(0.1)}, passes=9, seed=0)
    for name, result in comparison.results.items():
        assert result.trace[-1].objective == result.loss == comparison.networks[name].loss(X, y)
        np.testing.assert_array_equal(result.theta, comparison.networks[name].theta)
        assert result.trace[-1].data_passes == 9


def test_a_time_limit_ends_an_optimizer_within_its_epoch(regression):
    X, y, net = regression
    comparison = compare(
        net, X, y, {"sgd": SGD(0.01), "lbfgs": LBFGS()}, passes=None, time_limit=1e-9, seed=0
    )
    for result in comparison.results.values():
        assert result.status == Status.TIME_LIMIT
        assert result.n_iter == 0
        assert result.trace[-1].objective == result.loss


@pytest.mark.parametrize("method", ["L-BFGS-B", "BFGS", "CG", "TNC", "SLSQP", "trust-constr"])
def test_without_a_limit_on_passes_a_solver_runs_to_its_end(regression, method):
    X, y, net = regression
    optimizers = {"it": Scipy(method)}
    (result,) = compare(net, X, y, optimizers, passes=None, time_limit=1e6, l2=1.0).results.values()
    assert result.status == Status.CONVERGED


def test_the_members_of_a_list_share_the_passes_and_hand_over(regression):
    X, y, net = regression
    optimizers = {"both": [SGD(0.05), "lbfgs"], "sgd": SGD(0.05)}
    results = compare(net, X, y, optimizers, passes=7, seed=0).results
    shared = results["both"].trace
    assert [r.objective for r in shared][:5] == [r.objective for r in results["sgd"].trace][:5]
    # Three passes are left: the first evaluates where gradient descent stopped.
    first_of_lbfgs = shared[5]
    assert (first_of_lbfgs.data_passes, first_of_lbfgs.objective) == (5, shared[4].objective)
    assert shared[-1].data_passes == 7


def test_a_target_ends_an_optimizer_early(regression):
    X, y, net = regression
    target = 0.9 * net.loss(X, y)
    result = compare(net, X, y, ["lbfgs"], target_loss=target).results["lbfgs"]
    assert result.status == Status.TARGET_REACHED
    assert result.loss <= target


def test_a_batch_size_for_each_optimizer(regression):
    X, y, net = regression
    optimizers = {"full": SGD(0.01), "online": SGD(0.01), "other": SGD(0.01)}
    sizes = {"full": None, "online": 1}
    results = compare(net, X, y, optimizers, passes=2, batch_size=sizes, seed=0).results
    # The third has 128, that is all rows.
    assert [r.n_grad_evals for r in results.values()] == [2, 2 * N_ROWS, 2]


def test_optimizers_by_their_written_form(regression):
    X, y, net = regression
    named = compare(net, X, y, ["sgd(learning_rate=0.1)", "adam"], passes=2, seed=0)
    given = compare(net, X, y, {"s": SGD(0.1), "a": "adam"}, passes=2, seed=0)
    assert list(named.results) == ["sgd(learning_rate=0.1)", "adam"]
    for a, b in zip(named.networks.values(), given.networks.values(), strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)


# Trouble


@pytest.mark.usefixtures("overflow")
def test_one_that_diverges_does_not_spoil_the_others(regression):
    X, y, net = regression
    comparison = compare(net, X, y, {"wild": SGD(1e200), "tame": SGD(0.01)}, passes=5, seed=0)
    wild, tame = comparison.results.values()
    assert wild.status == Status.NOT_FINITE
    assert wild.loss == net.loss(X, y)  # back at the start
    alone = compare(net, X, y, {"tame": SGD(0.01)}, passes=5, seed=0).results["tame"]
    np.testing.assert_array_equal(tame.theta, alone.theta)
    assert "not finite" in comparison.table()


@pytest.mark.usefixtures("overflow")
def test_an_objective_that_overflows_at_the_start_is_a_status_too(regression):
    X, y, net = regression
    net.theta = np.full(net.n_params, 1e200)
    comparison = compare(net, X, y, {"sgd": SGD(), "lbfgs": LBFGS()}, passes=2)
    assert {r.status for r in comparison.results.values()} == {Status.NOT_FINITE}
    assert "not finite" in str(comparison)


def test_traces_without_a_record_can_be_drawn():
    pytest.importorskip("matplotlib")
    from fastmlp.plotting import plot_traces

    figure = plot_traces({"sgd": Trace(), "lbfgs": Trace()})
    figure.savefig(io.BytesIO())
    assert len(figure.legends[0].get_texts()) == 2


def test_ctrl_c_keeps_what_there_is(regression, monkeypatch):
    X, y, net = regression
    record = Monitor.record

    def press_ctrl_c(self, *arguments, **options):
        # Not in the warm-up, which sees few rows and is never shown.
        if self.epoch == 2:
            signal.raise_signal(signal.SIGINT)
        record(self, *arguments, **options)

    monkeypatch.setattr(Monitor, "record", press_ctrl_c)
    comparison = compare(net, X, y, {"first": SGD(0.1), "second": SGD(0.1)}, passes=5, seed=0)
    assert list(comparison.results) == ["first"]
    assert comparison.results["first"].status == Status.INTERRUPTED
    assert comparison.results["first"].n_iter == 2
    assert "interrupted" in comparison.table()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"optimizers": {}}, "optimizers must name at least one"),
        ({"optimizers": []}, "optimizers must name at least one"),
        ({"optimizers": Adam()}, "optimizers must be a mapping"),
        ({"optimizers": "adam"}, "optimizers must be a mapping"),
        ({"optimizers": [Adam()]}, "a list of written forms"),
        ({"optimizers": ["adam", "adam"]}, "'adam' more than once"),
        ({"optimizers": {1: Adam()}}, "strings for names, got 1"),
        ({"optimizers": {"a": 3}}, "optimizer must be one of"),
        ({"optimizers": {"a": "adm"}}, "optimizer must be one of"),
        ({"optimizers": {"a": []}}, "must not be an empty list"),
        ({"passes": 0}, "passes must be an integer of at least 1, got 0"),
        ({"passes": 2.5}, "passes must be an integer of at least 1, got 2.5"),
        ({"passes": None}, "passes must be given where time_limit is not"),
        (
            {"passes": None, "time_limit": 1.0, "optimizers": {"two": ["adam", "sgd"]}},
            "passes must be given for the members of 'two'",
        ),
        (
            {"passes": 1, "optimizers": {"two": ["adam", "sgd"]}},
            "at least one for each of the 2 members of 'two', got 1",
        ),
        ({"time_limit": 0}, "time_limit must be a positive number, got 0"),
        ({"target_loss": "low"}, "target_loss must be a finite number"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": {"adm": 3}}, "batch_size must name optimizers out of adam, got 'adm'"),
        ({"batch_size": {"adam": -1}}, "batch_size must be an integer of at least 1, got -1"),
        ({"shuffle": "yes"}, "shuffle must be"),
        ({"clip_norm": 0}, "clip_norm must be a positive number"),
        ({"seed": -1}, "seed must be"),
        ({"n_threads": 0}, "n_threads must be an integer of at least 1"),
        ({"loss": "cross_entropy"}, "needs a softmax output"),
        ({"l2": -1}, "l2 must be"),
        ({"validation_data": 3}, "validation_data must be"),
        ({"validation_data": (np.zeros((2, 5)), np.zeros(2))}, "validation_data: X must have"),
        ({"sample_weight": [1.0]}, "sample_weight must have the shape"),
        ({"progress": "yes"}, "progress must be True or False"),
    ],
)
def test_bad_arguments_are_refused_in_a_sentence(regression, options, sentence):
    X, y, net = regression
    before = net.theta.copy()
    arguments = {"optimizers": ["adam"], **options}
    with pytest.raises((ValueError, TypeError)) as error:
        compare(net, X, y, **arguments)
    assert sentence in str(error.value)
    np.testing.assert_array_equal(net.theta, before)


# Scores


def network_that_returns_its_input(n, output):
    net = MLP([n, n], output=output, dtype="float64", seed=0)
    net.theta = np.concatenate([np.eye(n).ravel(), np.zeros(n)])
    return net


@pytest.mark.parametrize(
    ("n", "output", "loss", "X", "y", "expected"),
    [
        (1, "identity", "auto", [[1.0], [2.0]], [4.0, -2.0], ("rms error", 12.5**0.5)),
        (1, "identity", "huber", [[1.0], [2.0]], [1.0, 2.0], ("rms error", 0.0)),
        (2, "identity", "auto", [[0.0, 0.0]], [[3.0, 4.0]], ("rms error", 12.5**0.5)),
        (2, "softmax", "auto", [[2, 1], [0, 1], [3, 5]], [0, 1, 0], ("accuracy", 2 / 3)),
        (2, "softmax", "auto", [[2, 1], [0, 1]], [[0.9, 0.1], [1, 0]], ("accuracy", 0.5)),
        (1, "sigmoid", "auto", [[3.0], [-3.0], [0.1], [-0.1]], [1, 0, 0, 0], ("accuracy", 0.75)),
        (1, "identity", "hinge", [[3.0], [-3.0], [0.1]], [1, 1, 1], ("accuracy", 2 / 3)),
        (1, "identity", "logistic", [[3.0], [-3.0]], [1, -1], ("accuracy", 1.0)),
    ],
)
def test_scores_that_can_be_read_off(n, output, loss, X, y, expected):
    net = network_that_returns_its_input(n, output)
    name, value = score(net, X, y, loss=loss)
    assert name == expected[0]
    assert value == pytest.approx(expected[1], rel=1e-15)


def test_scores_heed_sample_weights():
    net = network_that_returns_its_input(1, "identity")
    X, y = [[1.0], [2.0]], [4.0, -2.0]  # errors 3 and 4
    assert score(net, X, y, sample_weight=[3, 1])[1] == pytest.approx(((27 + 16) / 4) ** 0.5)


def test_scores_are_of_the_validation_data_if_there_is_some(classification):
    X, y, net = classification
    held_out = X[:20], y[:20]
    options = {"optimizers": {"adam": Adam(0.05)}, "passes": 5, "seed": 0}
    without = compare(net, X[20:], y[20:], **options)
    with_some = compare(net, X[20:], y[20:], validation_data=held_out, **options)
    for comparison, (Xs, ys) in ((without, (X[20:], y[20:])), (with_some, held_out)):
        predicted = comparison.networks["adam"].predict(Xs).argmax(axis=1)
        assert comparison.scores["adam"] == pytest.approx(np.mean(predicted == ys), rel=1e-15)
    assert "accuracy of the training data" in " ".join(without.table().split())
    assert "accuracy of the validation data" in " ".join(with_some.table().split())
    last = with_some.results["adam"].trace[-1].validation_loss
    assert last == with_some.networks["adam"].loss(*held_out)
    assert np.isnan(without.results["adam"].trace["validation_loss"]).all()


# What it shows


def test_the_table_has_a_line_for_each_optimizer(small):
    header, rule, *lines = small.table().splitlines()
    for name in ("optimizer", "objective", "rms error", "seconds", "data passes", "status"):
        assert name in header
    assert set(rule) == {"-"}
    for line, (name, result) in zip(lines, small.results.items(), strict=False):
        assert line.startswith(name)
        cells = line.removeprefix(name).split()
        assert float(cells[0]) == pytest.approx(result.loss, rel=1e-3)  # four digits
        assert float(cells[1]) == pytest.approx(small.scores[name], rel=1e-3)
        assert [float(cell) for cell in cells[3:6]] == [6, result.n_loss_evals, result.n_grad_evals]
        assert cells[6:] == ["completed"]
    assert "at most 6 data passes" in small.table()
    assert str(small) == small.table()


def test_the_table_names_both_budgets(small):
    both = Comparison(
        small.results, small.networks, small.scores, small.score_name, small.scored_on, 1, 0.5
    )
    assert "at most 1 data pass and 0.5 s" in both.table()


def test_all_traces_go_into_one_csv_file(small, tmp_path):
    small.to_csv(tmp_path / "traces.csv")
    with open(tmp_path / "traces.csv", newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["optimizer", *COLUMNS]
    for name, result in small.results.items():
        own = [row[1:] for row in rows if row[0] == name]
        for i, column in enumerate(COLUMNS):
            # Numbers are written so that reading them gives the same float.
            np.testing.assert_array_equal([float(row[i]) for row in own], result.trace[column])
    assert len(rows) == sum(len(result.trace) for result in small.results.values())


def test_the_progress_bars_count_data_passes(regression, capsys):
    X, y, net = regression
    compare(net, X, y, {"gd": SGD(0.1), "lbfgs": LBFGS()}, passes=4, progress=True)
    captured = capsys.readouterr()
    for name in ("gd", "lbfgs"):
        last = [line for line in captured.err.replace("\r", "\n").split("\n") if name in line][-1]
        assert "4/4" in last
        assert "objective=" in last
    assert captured.out == ""


# Plots


def test_the_plot_draws_every_trace_over_seconds_and_data_passes(small, tmp_path):
    pytest.importorskip("matplotlib")
    figure = small.plot(tmp_path / "traces.png")
    assert (tmp_path / "traces.png").read_bytes().startswith(b"\x89PNG")
    panels = figure.get_axes()
    assert [panel.get_xlabel() for panel in panels] == ["seconds", "data passes"]
    assert panels[0].get_ylabel() == "objective"
    for panel, column in zip(panels, ("seconds", "data_passes"), strict=True):
        assert panel.get_yscale() == "log"
        assert [line.get_label() for line in panel.get_lines()] == list(small.results)
        for line, result in zip(panel.get_lines(), small.results.values(), strict=True):
            np.testing.assert_array_equal(line.get_xdata(), result.trace[column])
            np.testing.assert_array_equal(line.get_ydata(), result.trace["objective"])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(small.results)


def test_no_two_lines_of_a_plot_look_the_same(small):
    pytest.importorskip("matplotlib")
    from fastmlp.plotting import plot_traces

    trace = small.results["sgd"].trace
    lines = plot_traces({str(i): trace for i in range(30)}).get_axes()[0].get_lines()
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == 30
    assert len({line.get_color() for line in lines[:7]}) == 7


def test_an_objective_that_is_not_positive_gets_a_linear_axis():
    pytest.importorskip("matplotlib")
    net = MLP([1, 1], output="exponential", dtype="float64", seed=0)
    net.theta = [0.0, 2.0]
    X, y = np.zeros((4, 1)), np.full(4, 9.0)  # exp(2) - 9 * 2 is negative
    comparison = compare(net, X, y, {"sgd": SGD(0.01)}, passes=2, loss="poisson", seed=0)
    assert comparison.plot().get_axes()[0].get_yscale() == "linear"


def test_a_plot_needs_no_pyplot(small, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)  # importing it now fails
    assert len(small.plot().get_axes()) == 2


def test_without_matplotlib_the_extra_is_named(small, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'fastmlp\[plot\]'"):
        small.plot()
