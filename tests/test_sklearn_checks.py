"""scikit-learn's checks of estimators, for every kind of solver."""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from marks import compiled_only
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp

pytestmark = [
    compiled_only,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]

SOLVERS = ["adam", "sgd", "lbfgs", "rmsprop", "stochastic_lbfgs", ["adam", "lbfgs"]]


def estimators():
    for kind in (fastmlp.MLPClassifier, fastmlp.MLPRegressor):
        for solver in [*SOLVERS, "gradient_descent"]:
            yield kind(solver=solver, max_iter=100)
        yield kind(standardize=True, max_iter=100)
        yield kind(loss="squared_error", solver="levenberg_marquardt", hidden_layer_sizes=(5,))


def expected_failures(estimator):
    if estimator.solver != "gradient_descent":
        return {}
    reason = (
        "a row twice and a row of weight 2 differ in the last bit, by which a search may take one "
        "trial more or less, and go another way: predictions differ by more than 1e-9"
    )
    name = "check_sample_weight_equivalence_on"
    return {f"{name}_dense_data": reason, f"{name}_sparse_data": reason}


@parametrize_with_checks(list(estimators()), expected_failed_checks=expected_failures)
def test_check(estimator, check):
    check(estimator)
