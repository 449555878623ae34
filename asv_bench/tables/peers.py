"""The methods: fastmlp's estimators and their peers, all at their defaults and for raw frames.

What a peer cannot read is prepared in the way that its documentation gives for it, on the rows to
fit alone: dates become numbers for all of them, and then

- scikit-learn's MLP gets numbers standardized with the mean for what is missing and an indicator,
  text one-hot, and a target that is standardized as well;
- HistGradientBoosting, LightGBM and XGBoost get text as pandas' categories, which they split
  natively, and what is missing as it is;
- CatBoost gets text as text, which it encodes natively, where what is missing is a text of its own;
- RealMLP, which refuses missing numbers, gets the mean for them with an indicator as a category, as
  in TabArena, and text and booleans as categories.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.pipeline import make_pipeline


@dataclass(frozen=True)
class Method:
    """One of METHODS.

    Attributes
    ----------
    title : str
    package : str
        What is imported.
    distribution : str
        What is installed.
    build : callable
        Of X (a DataFrame), classifies, seed and n_threads; returns an estimator for rows like X.
    """

    title: str
    package: str
    distribution: str
    build: Callable[[pd.DataFrame, bool, int, int], Any]

    def reason_to_skip(self):
        """None, or why the method cannot be had here."""
        if importlib.util.find_spec(self.package) is None:
            return f"{self.distribution} is not installed: pip install 'fastmlp[bench]'"
        return None


# What the peers read


def is_text(values):
    """Whether a column has neither numbers nor booleans nor dates."""
    return not (is_numeric_dtype(values.dtype) or is_datetime64_any_dtype(values.dtype))


def without_dates(X):
    """X with year, month, day of the week and minute of the day in place of each date."""
    parts = {}
    for name in X:
        if not is_datetime64_any_dtype(X[name].dtype):
            parts[name] = X[name]
            continue
        date = X[name].dt
        parts[f"{name} year"], parts[f"{name} month"] = date.year, date.month
        parts[f"{name} weekday"] = date.day_of_week
        parts[f"{name} minute"] = 60 * date.hour + date.minute
    return pd.DataFrame(parts)


class Categories(TransformerMixin, BaseEstimator):
    """Numbers as they are, dates as numbers, text as categories; unseen text is missing."""

    def fit(self, X, y=None):
        """Learn which texts there are."""
        X = without_dates(X)
        self.categories_ = {
            name: pd.CategoricalDtype(sorted(X[name].dropna().unique()))
            for name in X
            if is_text(X[name])
        }
        return self

    def transform(self, X):
        """A DataFrame."""
        X = without_dates(X)
        known = {
            name: X[name].where(X[name].isin(dtype.categories)).astype(dtype)
            for name, dtype in self.categories_.items()
        }
        return X.assign(**known)


class Filled(Categories):
    """As `Categories`, with the mean for missing numbers, and all that is discrete as categories.

    A number's column that lacked some in the rows to fit has a column beside it, whether it is
    missing.
    """

    def fit(self, X, y=None):
        """Learn texts and means."""
        super().fit(X)
        X = without_dates(X)
        numbers = [name for name in X if not is_text(X[name]) and not is_bool_dtype(X[name])]
        self.means_ = X[numbers].mean().fillna(0)
        self.gaps_ = [name for name in numbers if X[name].isna().any()]
        return self

    def transform(self, X):
        """A DataFrame."""
        X = super().transform(X)
        gaps = X[self.gaps_].isna().add_suffix(" is missing")
        X = pd.concat([X.fillna(self.means_), gaps], axis=1)
        # Numbers before, because scikit-learn's checks take categories of booleans for booleans.
        booleans = [name for name in X if is_bool_dtype(X[name])]
        return X.astype(dict.fromkeys(booleans, "int8")).astype(dict.fromkeys(booleans, "category"))


def text_as_it_is(X):
    """X with dates as numbers and a text in place of missing text, for CatBoost."""
    X = without_dates(X)
    texts = {name: X[name].astype(object).fillna("missing") for name in X if is_text(X[name])}
    return X.assign(**texts)


# Methods


def _fastmlp(n_networks):
    def build(X, classifies, seed, n_threads):
        from fastmlp.sklearn import TabularClassifier, TabularRegressor

        estimator = TabularClassifier if classifies else TabularRegressor
        options = {} if n_networks is None else {"n_networks": n_networks}
        return estimator(random_state=seed, n_threads=n_threads, **options)

    return build


def _sklearn_mlp(X, classifies, seed, n_threads):
    from sklearn.compose import TransformedTargetRegressor, make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    texts = [name for name in X if is_text(X[name])]
    numbers = make_pipeline(SimpleImputer(add_indicator=True), StandardScaler())
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((encoder, texts), remainder=numbers)
    if classifies:
        network = MLPClassifier(random_state=seed)
    else:
        network = TransformedTargetRegressor(
            MLPRegressor(random_state=seed), transformer=StandardScaler()
        )
    return make_pipeline(FunctionTransformer(without_dates), columns, network)


def _hist_gradient_boosting(X, classifies, seed, n_threads):
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    estimator = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    return make_pipeline(Categories(), estimator(random_state=seed))


def _lightgbm(X, classifies, seed, n_threads):
    from lightgbm import LGBMClassifier, LGBMRegressor

    estimator = LGBMClassifier if classifies else LGBMRegressor
    # Told to be silent, and nothing else.
    model = estimator(random_state=seed, n_jobs=n_threads, verbose=-1)
    return make_pipeline(Categories(), model)


def _xgboost(X, classifies, seed, n_threads):
    from xgboost import XGBClassifier, XGBRegressor

    estimator = XGBClassifier if classifies else XGBRegressor
    model = estimator(random_state=seed, n_jobs=n_threads, enable_categorical=True)
    return make_pipeline(Categories(), model)


def _catboost(X, classifies, seed, n_threads):
    from catboost import CatBoostClassifier, CatBoostRegressor
    from sklearn.preprocessing import FunctionTransformer

    estimator = CatBoostClassifier if classifies else CatBoostRegressor
    model = estimator(
        random_seed=seed,
        thread_count=n_threads,
        cat_features=[name for name in X if is_text(X[name])],
        verbose=False,
        allow_writing_files=False,
    )
    return make_pipeline(FunctionTransformer(text_as_it_is), model)


def _realmlp(X, classifies, seed, n_threads):
    from pytabkit import RealMLP_TD_Classifier, RealMLP_TD_Regressor

    estimator = RealMLP_TD_Classifier if classifies else RealMLP_TD_Regressor
    # One network, with a fifth of the rows to choose its epoch: what its defaults are, said here
    # because the time depends on them.
    model = estimator(
        device="cpu",
        random_state=seed,
        n_threads=n_threads,
        n_cv=1,
        n_refit=0,
        val_fraction=0.2,
    )
    return make_pipeline(Filled(), model)


METHODS = {
    "fastmlp-1": Method("fastmlp, one network", "fastmlp", "fastmlp", _fastmlp(1)),
    "fastmlp": Method("fastmlp", "fastmlp", "fastmlp", _fastmlp(None)),
    "realmlp": Method("RealMLP-TD", "pytabkit", "pytabkit", _realmlp),
    "catboost": Method("CatBoost", "catboost", "catboost", _catboost),
    "lightgbm": Method("LightGBM", "lightgbm", "lightgbm", _lightgbm),
    "xgboost": Method("XGBoost", "xgboost", "xgboost", _xgboost),
    "hist-gb": Method("HistGradientBoosting", "sklearn", "scikit-learn", _hist_gradient_boosting),
    "sklearn-mlp": Method("scikit-learn's MLP", "sklearn", "scikit-learn", _sklearn_mlp),
}
