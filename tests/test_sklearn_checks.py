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

SOLVERS = ["adam", "sgd", "lbfgs", "adamw", "rmsprop", "bfgs", ["adam", "lbfgs"]]


def estimators():
    for kind in (fastmlp.MLPClassifier, fastmlp.MLPRegressor):
        for solver in SOLVERS:
            yield kind(solver=solver, max_iter=100)
        yield kind(standardize=True, max_iter=100)


@parametrize_with_checks(list(estimators()))
def test_check(estimator, check):
    check(estimator)
