"""Estimators for scikit-learn, with its MLP's parameters and attributes; the extra `sklearn`."""

from importlib.util import find_spec

if find_spec("sklearn") is None:
    raise ImportError("fastmlp's estimators need scikit-learn: pip install 'fastmlp[sklearn]'")

from fastmlp.sklearn.classifier import MLPClassifier
from fastmlp.sklearn.display import TrainingCurveDisplay
from fastmlp.sklearn.regressor import MLPRegressor
from fastmlp.sklearn.tabular import TabularClassifier, TabularRegressor

__all__ = [
    "MLPClassifier",
    "MLPRegressor",
    "TabularClassifier",
    "TabularRegressor",
    "TrainingCurveDisplay",
]


def __dir__():
    return __all__
