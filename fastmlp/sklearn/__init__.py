"""Estimators for scikit-learn, with its MLP's parameters and attributes; the extra `sklearn`."""

try:
    import sklearn as _scikit_learn  # noqa: F401
except ImportError as error:  # pragma: no cover
    raise ImportError(
        "fastmlp's estimators need scikit-learn: pip install 'fastmlp[sklearn]'"
    ) from error

from fastmlp.sklearn.classifier import MLPClassifier
from fastmlp.sklearn.display import TrainingCurveDisplay
from fastmlp.sklearn.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "TrainingCurveDisplay"]
