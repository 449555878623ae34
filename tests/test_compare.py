"""compare: equal conditions for every optimizer, honest counts, and what it shows of them."""

import signal

import numpy as np
import pytest
from scipy import optimize

from fastmlp import (
    LBFGS,
    MLP,
    SGD,
    Adam,
    Budget,
    FunctionProblem,
    NetworkProblem,
    Objective,
    Scipy,
    Status,
    compare,
    compare_problems,
    minimize,
)
from fastmlp.monitor import Monitor
from fastmlp.scoring import score

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
    return compare(net, X, y, optimizers, passes=6, batch_size=16)


# Equal conditions


def test_all_start_from_the_same_parameters_and_leave_the_network_alone(regression):
    X, y, net = regression
    before = net.theta.copy()
    comparison = compare(net, X, y, {"a": SGD(0.1), "b": Adam(), "c": LBFGS()}, passes=2)
    np.testing.assert_array_equal(net.theta, before)
    starts = [result.trace[0].objective for result in comparison.results.values()]
    assert starts == [net.loss(X, y)] * 3
    assert list(comparison.results) == list(comparison.networks) == ["a", "b", "c"]


@pytest.mark.parametrize("seeds", [[3], 1])
def test_all_see_the_rows_in_the_same_order(regression, seeds):
    X, y, net = regression
    twins = {"one": SGD(0.1), "other": SGD(0.1)}
    comparison = compare(net, X, y, twins, passes=3, batch_size=7, seeds=seeds)
    one, other = comparison.networks.values()
    np.testing.assert_array_equal(one.theta, other.theta)


def test_a_stochastic_optimizer_does_what_it_does_in_fit(regression):
    """fit, stopped after 0, 1, ... epochs, gives the exact objective that the trace must hold."""
    X, y, net = regression
    penalties = {"l1": 1e-3, "l2": 1e-2}
    comparison = compare(
        net, X, y, {"adam": Adam(0.02)}, passes=3, batch_size=16, seeds=[5], **penalties
    )
    for record in comparison.results["adam"].trace:
        fitted = net.copy()
        if record.epoch:
            fitted.fit(
                X, y, optimizer=Adam(0.02), epochs=record.epoch, batch_size=16, seed=5, **penalties
            )
        value, gradient = fitted.loss_and_grad(X, y, **penalties)
        assert record.objective == value
        # Summed in another order.
        assert record.gradient_norm == pytest.approx(np.linalg.norm(gradient), rel=1e-14)
    np.testing.assert_array_equal(comparison.networks["adam"].theta, fitted.theta)


def test_a_solver_that_converges_within_its_budget_does_what_it_does_in_fit(classification):
    X, y, net = classification
    options = {"l2": 0.1}  # strong enough to converge soon
    comparison = compare(net, X, y, {"lbfgs": LBFGS()}, passes=2000, **options)
    fitted = net.copy()
    result = fitted.fit(X, y, optimizer=LBFGS(), **options)
    assert comparison.results["lbfgs"].status == result.status == Status.CONVERGED
    np.testing.assert_array_equal(comparison.networks["lbfgs"].theta, fitted.theta)


def test_each_seed_has_a_start_that_all_share(regression):
    X, y, net = regression
    optimizers = {"sgd": SGD(0.1), "adam": Adam(), "lbfgs": LBFGS()}
    comparison = compare(net, X, y, optimizers, passes=2, seeds=[4, 0, 7])
    assert comparison.seeds == [4, 0, 7]
    starts = [[run.result.trace[0].objective for run in runs] for runs in comparison.runs.values()]
    assert starts[0] == starts[1] == starts[2]
    # The first seed starts from the network itself, the others as networks drawn with them do.
    drawn = [MLP([3, 8, 1], activation="tanh", dtype="float64", seed=seed) for seed in (0, 7)]
    assert starts[0] == [n.loss(X, y) for n in (net, *drawn)]
    assert len(set(starts[0])) == 3


def test_every_seed_has_its_order_of_rows(regression):
    X, y, net = regression
    one, other = compare(net, X, y, {"sgd": SGD(0.1)}, passes=2, batch_size=7, seeds=2).runs["sgd"]
    for run in (one, other):
        start = net if run.seed == 0 else net.redrawn(run.seed)
        fitted = start.copy()
        fitted.fit(X, y, optimizer=SGD(0.1), epochs=2, batch_size=7, seed=run.seed)
        np.testing.assert_array_equal(run.network.theta, fitted.theta)


def test_what_belongs_to_the_first_seed_is_at_hand(regression):
    X, y, net = regression
    comparison = compare(net, X, y, ["adam"], passes=2, seeds=2)
    first = comparison.runs["adam"][0]
    assert comparison.results["adam"] is first.result
    assert comparison.networks["adam"] is first.network
    assert comparison.scores["adam"] == first.score


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
    comparison = compare(net, X, y, optimizers, passes=passes, batch_size=16)
    for name, result in comparison.results.items():
        assert result.status == Status.COMPLETED, name
        assert result.trace[-1].data_passes == passes, name
        assert result.trace[-1].n_grad_evals == result.n_grad_evals, name
    assert comparison.results["sgd"].n_grad_evals == passes * 4  # 60 rows by 16
    assert comparison.results["lbfgs"].n_grad_evals == passes


@pytest.mark.parametrize("evaluations", [1, 6, 11])
def test_every_optimizer_spends_the_gradient_evaluations_it_is_given(regression, evaluations):
    X, y, net = regression
    optimizers = {
        "sgd": SGD(0.01),
        "lbfgs": LBFGS(),
        "cg": Scipy("CG"),
        "both": [SGD(0.01, epochs=1), LBFGS()] if evaluations > 4 else SGD(),
    }
    comparison = compare(net, X, y, optimizers, gradient_evaluations=evaluations, batch_size=16)
    for name, result in comparison.results.items():
        assert result.n_grad_evals == evaluations, name
        assert result.trace[-1].n_grad_evals == evaluations, name
        assert result.trace[-1].objective == result.loss, name
    # A pass is four mini-batches of 16 rows, the last of 12.
    sgd = comparison.results["sgd"].trace[-1]
    n_epochs, more = divmod(evaluations, 4)
    assert sgd.data_passes == pytest.approx(n_epochs + more * 16 / 60)
    assert f"at most {evaluations} gradient evaluation" in str(comparison)


def test_without_any_limit_there_are_twenty_passes(regression):
    X, y, net = regression
    comparison = compare(net, X, y, ["sgd"])
    assert comparison.results["sgd"].trace[-1].data_passes == 20
    assert comparison.budget == Budget(passes=20)
    # One limit is the only one.
    assert compare(net, X, y, ["sgd"], gradient_evaluations=30).results["sgd"].n_iter == 30


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
    theirs = {"scipy": Scipy("L-BFGS-B")}
    result = compare(net, X, y, theirs, passes=passes).results["scipy"]
    assert result.loss == within[-1]
    assert result.n_iter == len(within) - 1


def test_the_last_record_is_where_the_optimizer_ended(regression):
    X, y, net = regression
    # A line search of TNC's has left the iterate behind when the passes are over.
    comparison = compare(net, X, y, {"tnc": Scipy("TNC"), "sgd": SGD(0.1)}, passes=9)
    for name, result in comparison.results.items():
        assert result.trace[-1].objective == result.loss == comparison.networks[name].loss(X, y)
        np.testing.assert_array_equal(result.theta, comparison.networks[name].theta)
        assert result.trace[-1].data_passes == 9


def test_a_time_limit_ends_an_optimizer_within_its_epoch(regression):
    X, y, net = regression
    comparison = compare(
        net, X, y, {"sgd": SGD(0.01), "lbfgs": LBFGS()}, passes=None, time_limit=1e-9
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
    results = compare(net, X, y, optimizers, passes=7).results
    shared = results["both"].trace
    assert [r.objective for r in shared][:5] == [r.objective for r in results["sgd"].trace][:5]
    # Three passes are left: the first evaluates where gradient descent stopped.
    first_of_lbfgs = shared[5]
    assert (first_of_lbfgs.data_passes, first_of_lbfgs.objective) == (5, shared[4].objective)
    assert shared[-1].data_passes == 7


def test_members_with_a_number_of_their_own_take_it_first(regression):
    X, y, net = regression
    optimizers = {
        "first": [SGD(0.05, epochs=2), LBFGS()],
        "last": [SGD(0.05), LBFGS(max_iterations=3)],
        "both": [SGD(0.05, epochs=2), LBFGS(max_iterations=1)],
        "three": [SGD(0.05), SGD(0.05, epochs=1), SGD(0.05)],
    }
    comparison = compare(net, X, y, optimizers, passes=9, batch_size=None)
    for result in comparison.results.values():
        assert result.trace[-1].data_passes == 9
    traces = {name: result.trace for name, result in comparison.results.items()}
    # L-BFGS begins with an evaluation of where it starts: the objective stays as it was.
    stays = {name: np.flatnonzero(np.diff(t["objective"]) == 0) for name, t in traces.items()}
    assert [stays[name][0] for name in ("first", "last", "both")] == [2, 6, 2]
    # Only time is limited: what has no number of its own comes last.
    timed = compare(net, X, y, {"it": [SGD(0.05, epochs=2), LBFGS()]}, time_limit=60, l2=1.0)
    assert timed.results["it"].status == Status.CONVERGED


def test_a_target_to_report_stops_nothing(regression):
    X, y, net = regression
    target = 0.9 * net.loss(X, y)
    comparison = compare(net, X, y, ["lbfgs"], passes=9, target=target)
    assert comparison.results["lbfgs"].status == Status.COMPLETED
    assert comparison.runs["lbfgs"][0].first_at(target).objective <= target
    assert compare(net, X, y, ["lbfgs"], target_loss=target).target == target


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
    results = compare(net, X, y, optimizers, passes=2, batch_size=sizes).results
    # The third has 128, that is all rows.
    assert [r.n_grad_evals for r in results.values()] == [2, 2 * N_ROWS, 2]


def test_optimizers_by_their_written_form(regression):
    X, y, net = regression
    named = compare(net, X, y, ["sgd(learning_rate=0.1)", "adam"], passes=2)
    given = compare(net, X, y, {"s": SGD(0.1), "a": "adam"}, passes=2)
    assert list(named.results) == ["sgd(learning_rate=0.1)", "adam"]
    for a, b in zip(named.networks.values(), given.networks.values(), strict=True):
        np.testing.assert_array_equal(a.theta, b.theta)


# Trouble


@pytest.mark.usefixtures("overflow")
def test_one_that_diverges_does_not_spoil_the_others(regression):
    X, y, net = regression
    comparison = compare(net, X, y, {"wild": SGD(1e200), "tame": SGD(0.01)}, passes=5)
    wild, tame = comparison.results.values()
    assert wild.status == Status.NOT_FINITE
    assert wild.loss == net.loss(X, y)  # back at the start
    alone = compare(net, X, y, {"tame": SGD(0.01)}, passes=5).results["tame"]
    np.testing.assert_array_equal(tame.theta, alone.theta)
    assert "not finite" in comparison.table()


@pytest.mark.usefixtures("overflow")
def test_an_objective_that_overflows_at_the_start_is_a_status_too(regression):
    X, y, net = regression
    net.theta = np.full(net.n_params, 1e200)
    comparison = compare(net, X, y, {"sgd": SGD(), "lbfgs": LBFGS()}, passes=2)
    assert {r.status for r in comparison.results.values()} == {Status.NOT_FINITE}
    assert "not finite" in str(comparison)


def test_ctrl_c_keeps_what_there_is(regression, monkeypatch):
    X, y, net = regression
    record = Monitor.record

    def press_ctrl_c(self, *arguments, **options):
        # Not in the warm-up, which sees few rows and is never shown.
        if self.epoch == 2:
            signal.raise_signal(signal.SIGINT)
        record(self, *arguments, **options)

    monkeypatch.setattr(Monitor, "record", press_ctrl_c)
    comparison = compare(net, X, y, {"first": SGD(0.1), "second": SGD(0.1)}, passes=5)
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
        (
            {"time_limit": 1.0, "optimizers": {"two": ["adam", "sgd"]}},
            "passes or gradient_evaluations must be given for the members of 'two' to share",
        ),
        (
            {"passes": 1, "optimizers": {"two": ["adam", "sgd"]}},
            "passes must be at least 2 for the 2 members of 'two', got 1",
        ),
        (
            {"passes": 20, "optimizers": {"two": ["adam(epochs=20)", "sgd"]}},
            "passes must be at least 21 for the 2 members of 'two', got 20",
        ),
        (
            {"gradient_evaluations": 1, "optimizers": {"two": ["adam", "sgd"]}},
            "gradient_evaluations must be at least 2 for the 2 members of 'two', got 1",
        ),
        ({"time_limit": 0}, "time_limit must be a positive number, got 0"),
        ({"target_loss": "low"}, "target_loss must be a finite number"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"batch_size": {"adm": 3}}, "batch_size must name optimizers out of adam, got 'adm'"),
        ({"batch_size": {"adam": -1}}, "batch_size must be an integer of at least 1, got -1"),
        ({"shuffle": "yes"}, "shuffle must be"),
        ({"clip_norm": 0}, "clip_norm must be a positive number"),
        ({"seeds": 0}, "seeds must be an integer of at least 1, got 0"),
        (
            {"optimizers": ["adam", "lbfgs"], "batch_size": {"lbfgs": 16}},
            "batch_size must not be given for LBFGS",
        ),
        ({"optimizers": ["lbfgs", "bfgs"], "batch_size": 16}, "batch_size must not be given for"),
        ({"optimizers": ["lbfgs"], "clip_norm": 1.0}, "clip_norm must not be given for LBFGS"),
        ({"optimizers": ["lbfgs"], "shuffle": False}, "shuffle must not be given for LBFGS"),
        ({"seeds": []}, "seeds must be at least one"),
        ({"seeds": [1, -1]}, "seeds must be an integer of at least 0, got -1"),
        ({"seeds": [1, 2, 1]}, "seeds must differ, got 1 more than once"),
        ({"seeds": "12"}, "seeds must be an integer"),
        ({"gradient_evaluations": 0}, "gradient_evaluations must be an integer of at least 1"),
        ({"target": "low"}, "target must be a finite number"),
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


def test_a_solver_that_is_not_for_a_network_is_refused_before_any_runs(monkeypatch):
    monkeypatch.setattr(Monitor, "record", lambda *arguments, **options: pytest.fail("it ran"))
    net = MLP([200, 100, 1], seed=0)  # 20,201 parameters, more than a dense matrix is kept for
    X, y = np.zeros((3, 200)), np.zeros(3)
    with pytest.raises(ValueError, match="BFGS keeps a matrix for at most 16,000 parameters"):
        compare(net, X, y, ["sgd", "bfgs"])


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


@pytest.mark.parametrize(
    ("output", "n_outputs", "y"),
    [("softmax", 2, [0, 0]), ("sigmoid", 1, [0, 0]), ("identity", 1, [-1, -1])],
)
@pytest.mark.usefixtures("overflow")
def test_outputs_that_overflow_are_no_right_answers(output, n_outputs, y):
    """NaN has no largest element, is not above one half and has no sign."""
    net = MLP([1, 2, n_outputs], activation="identity", output=output, seed=0)
    net.weights[0][:] = 2
    net.weights[1][:] = [[1], [-1]]  # infinity less infinity
    net.biases[1][0] = 1 if output == "softmax" else -1  # as y has it
    X = np.float32([[0], [2e38]])
    loss = "logistic" if output == "identity" else "auto"
    assert np.isnan(net.predict(X)[1]).all()
    assert score(net, X[:1], y[:1], loss=loss) == ("accuracy", 1.0)
    assert score(net, X, y, loss=loss) == ("accuracy", 0.5)


def test_scores_are_of_the_validation_data_if_there_is_some(classification):
    X, y, net = classification
    held_out = X[:20], y[:20]
    options = {"optimizers": {"adam": Adam(0.05)}, "passes": 5}
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
        assert float(cells[1]) == pytest.approx(result.trace["objective"].min(), rel=1e-3)
        assert float(cells[2]) == pytest.approx(small.scores[name], rel=1e-3)
        assert [float(cell) for cell in cells[4:7]] == [6, result.n_loss_evals, result.n_grad_evals]
        assert cells[7:] == ["completed"]
    assert "at most 6 data passes" in small.table()
    assert str(small) == small.table()


def test_the_table_names_all_budgets():
    every = Budget(passes=1, time_limit=0.5, gradient_evaluations=7)
    assert str(every) == "1 data pass and 7 gradient evaluations and 0.5 s"


def test_the_progress_bars_count_data_passes(regression, capsys):
    X, y, net = regression
    compare(net, X, y, {"gd": SGD(0.1), "lbfgs": LBFGS()}, passes=4, progress=True)
    captured = capsys.readouterr()
    for name in ("gd", "lbfgs"):
        last = [line for line in captured.err.replace("\r", "\n").split("\n") if name in line][-1]
        assert "4/4" in last
        assert "objective=" in last
    assert captured.out == ""


def test_the_progress_bars_go_over_all_seeds(regression, capsys):
    X, y, net = regression
    compare(net, X, y, {"gd": SGD(0.1), "lbfgs": LBFGS()}, passes=4, seeds=3, progress=True)
    err = capsys.readouterr().err
    assert "gd: 100%" in err
    assert "12/12" in err


# Several problems


def bowl(seed):
    """A parabola whose steepness is the seed's."""
    return lambda x: (float(x @ x) * (1 + seed), 2 * x * (1 + seed))


def start_of_bowl(seed):
    return np.array([3.0, -4.0]) / (1 + seed)


BOWL = FunctionProblem("bowl", bowl, start_of_bowl, target=1e-6)


def test_functions_and_networks_are_compared_alike(regression):
    X, y, _ = regression
    network = NetworkProblem(
        "network",
        lambda seed: MLP([3, 8, 1], activation="tanh", dtype="float64", seed=seed),
        X,
        y,
        l2=1e-3,
        batch_size=16,
        target=0.1,
    )
    optimizers = {"sgd": SGD(0.05), "lbfgs": LBFGS(), "both": [SGD(0.05, epochs=3), LBFGS()]}
    comparisons = compare_problems([BOWL, network], optimizers, passes=8, seeds=[0, 2])
    assert list(comparisons) == ["bowl", "network"]
    for name, comparison in comparisons.items():
        assert comparison.seeds == [0, 2]
        assert comparison.settings["problem"] == name
        for runs in comparison.runs.values():
            for run in runs:
                assert run.result.trace[-1].data_passes <= 8
    for runs in comparisons["network"].runs.values():
        for run in runs:
            start = MLP([3, 8, 1], activation="tanh", dtype="float64", seed=run.seed)
            assert run.result.trace[0].objective == start.loss(X, y, l2=1e-3)
            assert run.result.loss == run.network.loss(X, y, l2=1e-3)
    for runs in comparisons["bowl"].runs.values():
        for run in runs:
            function = bowl(run.seed)
            assert run.result.trace[0].objective == function(start_of_bowl(run.seed))[0]
            assert (
                run.result.trace[-1].objective == run.result.loss == function(run.result.theta)[0]
            )
            assert run.score is None
    assert comparisons["bowl"].runs["sgd"][0].result.n_grad_evals == 8


def test_a_function_is_minimized_as_by_minimize():
    comparison = compare_problems([BOWL], {"lbfgs": LBFGS()}, passes=50)["bowl"]
    alone = minimize(bowl(0), start_of_bowl(0), optimizer=LBFGS())
    result = comparison.results["lbfgs"]
    assert result.status == alone.status == Status.CONVERGED
    np.testing.assert_array_equal(result.theta, alone.theta)
    np.testing.assert_array_equal(result.trace["objective"], alone.trace["objective"])


def test_of_a_noisy_function_the_trace_has_the_value_without_noise():
    def noisy(seed):
        rng = np.random.default_rng(seed)

        def function(x):
            value, gradient = bowl(0)(x)
            return value + rng.normal(), gradient + rng.normal(size=x.size)

        return function

    problem = FunctionProblem("noisy", noisy, start_of_bowl, target=1.0, exact=bowl(0))
    optimizers = {"one": SGD(0.05), "other": SGD(0.05)}
    comparison = compare_problems([problem], optimizers, passes=30, seeds=2)["noisy"]
    one, other = comparison.runs.values()
    for a, b in zip(one, other, strict=True):
        assert a.result.trace[0].objective == bowl(0)(start_of_bowl(a.seed))[0]
        assert a.result.loss == bowl(0)(a.result.theta)[0]
        # The same noise for all optimizers.
        np.testing.assert_array_equal(a.result.trace["objective"], b.result.trace["objective"])
    assert (one[0].result.theta != one[1].result.theta).all()


def test_functions_have_budgets_of_gradients_and_shares_too():
    optimizers = {"both": [SGD(0.01, epochs=4), SGD(0.001)], "lbfgs": LBFGS()}
    comparison = compare_problems([BOWL], optimizers, gradient_evaluations=10)["bowl"]
    assert comparison.results["both"].n_grad_evals == 10
    # The first takes four: its last steps shrink x by 2 %, those of the other by 0.2 %.
    ratios = comparison.results["both"].trace["objective"]
    ratios = ratios[1:] / ratios[:-1]
    assert sum(ratios < 0.98**1.9) == 3


def test_a_function_that_overflows_is_a_status():
    comparison = compare_problems([BOWL], {"wild": SGD(1e200), "tame": SGD(0.1)}, passes=9)["bowl"]
    wild = comparison.results["wild"]
    assert wild.status == Status.NOT_FINITE
    assert np.isfinite(wild.trace["objective"]).all()
    assert comparison.results["tame"].status == Status.COMPLETED
    assert "not finite" in str(comparison)


def test_problems_by_name():
    comparisons = compare_problems(["rosenbrock", "beale"], ["lbfgs"], passes=60)
    assert list(comparisons) == ["rosenbrock", "beale"]
    assert "lbfgs" in comparisons.table()
    assert comparisons["beale"].runs["lbfgs"][0].first_at(comparisons["beale"].target)


def test_ctrl_c_keeps_the_problems_that_there_are(monkeypatch):
    record = Monitor.record

    def press_ctrl_c(self, objective, theta, *arguments, **options):
        # Not in the warm-up, which does eight iterations.
        if self.epoch == 10 and theta.size == 4:
            signal.raise_signal(signal.SIGINT)
        record(self, objective, theta, *arguments, **options)

    monkeypatch.setattr(Monitor, "record", press_ctrl_c)
    optimizers = {"one": SGD(1e-4), "other": SGD(1e-4)}
    comparisons = compare_problems(["beale", "wood", "rosenbrock"], optimizers, passes=20)
    assert list(comparisons) == ["beale", "wood"]
    assert comparisons["wood"].interrupted
    assert list(comparisons["wood"].runs) == ["one"]
    assert comparisons.profile("passes").n_instances == 1
    assert "interrupted" in str(comparisons["wood"])
    assert "beale" in str(comparisons)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"problems": []}, "problems must be a list with at least one"),
        ({"problems": "sin"}, "problems must be a list with at least one"),
        ({"problems": ["sine"]}, "problem must be one of sin,"),
        (
            {"problems": [BOWL], "optimizers": ["adam(factors={'bias': 0.1})"]},
            "factors must not be given where a plain function is minimized",
        ),
        ({"problems": [3]}, "problems must be NetworkProblem or FunctionProblem"),
        ({"problems": ["sin", "sin"]}, "problems must differ by name, got 'sin' more than once"),
        (
            {"problems": [FunctionProblem("free", bowl, start_of_bowl)]},
            "problems must have a target each, got None for 'free'",
        ),
        ({"optimizers": ["adm"]}, "beale: optimizer must be one of"),
        ({"passes": 0}, "passes must be an integer of at least 1"),
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
        ({"passes": 1, "optimizers": {"two": ["sgd", "sgd"]}}, "beale: passes must be at least 2"),
    ],
)
def test_bad_problems_are_refused_in_a_sentence(arguments, sentence):
    with pytest.raises((ValueError, TypeError)) as error:
        compare_problems(**{"problems": ["beale"], "optimizers": ["adam"], **arguments})
    assert sentence in str(error.value)
