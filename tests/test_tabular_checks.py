"""scikit-learn's checks of the estimators for tables."""

import pytest

pytest.importorskip("sklearn", reason="scikit-learn is not installed")

from marks import compiled_only
from sklearn.utils.estimator_checks import parametrize_with_checks

import fastmlp

pytestmark = [
    compiled_only,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.SkipTestWarning"),
]


def estimators():
    small = {"n_networks": 2, "hidden_layer_sizes": (16,), "epochs": 60, "batch_size": 64}
    for kind in (fastmlp.TabularClassifier, fastmlp.TabularRegressor):
        yield kind(**small)
    # A single one would choose its epoch by ten rows in the check of class weights.
    yield fastmlp.TabularRegressor(**small | {"n_networks": 1})


def expected_failures(estimator):
    reason = (
        "a row of weight 2 is in one fold and one mini-batch, a row that is there twice may be in "
        "two of them: the networks are others"
    )
    name = "check_sample_weight_equivalence_on"
    return {f"{name}_dense_data": reason, f"{name}_sparse_data": reason}


@parametrize_with_checks(list(estimators()), expected_failed_checks=expected_failures)
def test_check(estimator, check):
    check(estimator)
