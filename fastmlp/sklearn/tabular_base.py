"""What the two estimators for tables share: fitting, predicting, importances."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from contextlib import contextmanager
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastmlp.inputs import EMBEDDINGS
from fastmlp.naming import NamesArguments
from fastmlp.sklearn.checking import check_sample_weight
from fastmlp.sklearn.scorers import Scoring, as_score
from fastmlp.tabular.encoding import Encoding
from fastmlp.tabular.ensemble import (
    Ensemble,
    Problem,
    ensemble_of,
    mean_by_row,
    search,
    train_candidate,
)
from fastmlp.tabular.folds import Fold, as_groups, check_classes, make_folds
from fastmlp.tabular.frames import Frame, read_frame, unbatched
from fastmlp.tabular.recipes import ARCHITECTURES, recipe_of
from fastmlp.tabular.scores import Score
from fastmlp.tabular.targets import find_target
from fastmlp.tabular.training import Clock, Diverged, Report

if TYPE_CHECKING:
    from os import PathLike
    from typing import Self

    from numpy.typing import ArrayLike

# Parameters that are no flags, though Python, and scikit-learn with it, take True for 1.
_INTEGERS = (
    *("n_networks", "members", "epochs", "batch_size", "n_threads", "random_state", "cv"),
    *("learning_rate", "time_limit"),
)

# Rows by which columns are found that may be the target, before these are looked at whole.
_HEAD = 1000

# Parameters that are a recipe's attributes.
_OF_RECIPE = ("embedding", "members", "learning_rate", "weight_decay", "dropout")


class BaseTabular(NamesArguments, BaseEstimator, ABC):
    """Common base of `TabularClassifier` and `TabularRegressor`; not to be used directly."""

    _parameter_constraints: ClassVar[dict] = {
        "architecture": [StrOptions({*ARCHITECTURES})],
        "embedding": [StrOptions({"auto", *EMBEDDINGS}), None],
        "n_networks": [Interval(Integral, 1, None, closed="left")],
        "members": [Interval(Integral, 1, None, closed="left"), None],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left"), None],
        "epochs": [Interval(Integral, 1, None, closed="left"), None],
        "batch_size": [Interval(Integral, 1, None, closed="left"), None],
        "learning_rate": [Interval(Real, 0, None, closed="neither"), None],
        "weight_decay": [Interval(Real, 0, None, closed="left"), None],
        "dropout": [Interval(Real, 0, 1, closed="left"), None],
        "categorical_features": ["array-like", StrOptions({"from_dtype"}), None],
        "cv": ["cv_object"],
        "scoring": [str, callable, None],
        "search": [StrOptions({"random"}), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "progress": ["boolean"],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
    }

    _ensemble: Ensemble
    _encoding: Encoding
    _task: Any

    # What differs between the two estimators.

    @abstractmethod
    def _check_y(self, y, n_rows, known=False):
        """Check the targets; return them as an array (n,), and as what scores take.

        `known` is of a fitted estimator, whose classes stay.
        """

    @abstractmethod
    def _make_task(self, targets, rows, weights):
        """What networks are trained towards."""

    @abstractmethod
    def _finish(self, predictions, rows, targets, weights):
        """Take what only one of the estimators has; return the predictions as they then are."""

    def _levels(self):
        """Levels of quantiles, None without any."""
        return

    def _check_weights(self, sample_weight, X, targets):
        if sample_weight is None:
            return None
        weights = check_sample_weight(sample_weight, X)
        if (weights < 0).any():
            raise ValueError(f"sample_weight must not be negative, got {weights.min()}")
        if not weights.any():
            raise ValueError("sample_weight must not be 0 for all samples, got all zeros")
        return weights / weights.max()

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Train the networks.

        Parameters
        ----------
        X : array-like, sparse matrix or data frame of shape (n_samples, n_features)
            Numbers, texts, booleans, categories and dates, some of which may be missing, as they
            are: frames of pandas and polars, tables of Arrow, arrays, lists of rows. A table is in
            memory as a whole: `fastmlp.Rows`, such as datasets of h5py, are loaded.
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), default=None
            Of the losses in training, and of the scores. Rows of weight 0 are left out.
        groups : array-like of shape (n_samples,), default=None
            Rows of a group are in the validation rows of the same fold.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad arguments, or if training diverges. The estimator then stays as it was.

        Warns
        -----
        UserWarning
            If Ctrl-C ended training, or the time limit did so before each network had an epoch, or
            if some networks have diverged, or had no score.
        """
        with self._unchanged_on_failure():
            notes = self._fit(X, y, sample_weight, groups)
        for note in notes:
            warnings.warn(note, stacklevel=2)
        return self

    @contextmanager
    def _unchanged_on_failure(self):
        """Undo all that was assigned if an exception comes out."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _fit(self, X, y, sample_weight, groups):
        """Do what `fit` says; return sentences to warn with."""
        clock = Clock(self.time_limit)
        self._check_parameters()
        score = as_score(self.scoring, is_classifier(self), self._levels())
        frame = read_frame(X)
        self._take_names(frame)
        X = _with_rows(X)
        y, targets = self._check_y(y, frame.n_rows)
        weights = self._check_weights(sample_weight, X, targets)
        _refuse_target(X, frame, y)
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        rows = np.arange(frame.n_rows) if weights is None else np.flatnonzero(weights)
        folds = self._make_folds(X, y, targets, groups, rows, rng)
        encoding = Encoding.learn(frame, self.categorical_features, rows)
        scoring = Scoring(score, targets, weights, X, y, getattr(self, "classes_", None))
        self._check_folds(folds, scoring, score, targets)
        task = self._make_task(targets, rows, weights)
        matrix = encoding.encode(frame)
        problem = Problem(
            matrix, encoding, task, folds, weights, scoring.gain_of, self.epochs, self.batch_size
        )
        report = Report(self.progress, lambda gain: f"{scoring.shown(gain):.4g}")
        try:
            candidates, shares = self._train(problem, rng, clock, report)
        finally:
            report.end()
        return self._take(candidates, shares, problem, scoring, targets, encoding)

    def _check_parameters(self):
        """Check what scikit-learn's constraints cannot say."""
        for name in _INTEGERS:
            if isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name} must be a number, got {getattr(self, name)!r}")
        self._recipe()

    def _recipe(self):
        """How networks are made and trained, by the parameters."""
        given = {name: getattr(self, name) for name in _OF_RECIPE}
        sizes = self.hidden_layer_sizes
        if sizes is not None:
            sizes = tuple(np.atleast_1d(sizes).tolist())
            if not sizes or not all(isinstance(size, int) and size > 0 for size in sizes):
                raise ValueError(
                    "hidden_layer_sizes must be integers of at least 1, at least one of them, got "
                    f"{self.hidden_layer_sizes!r}"
                )
        given |= {"hidden_layer_sizes": sizes, **self._own_of_recipe()}
        return recipe_of(self.architecture, is_classifier(self), **given)

    def _own_of_recipe(self):
        """What else of a recipe the parameters say."""
        return {}

    def _take_names(self, frame):
        self.n_features_in_ = frame.n_columns
        if frame.names is not None:
            self.feature_names_in_ = np.array(frame.names, object)
        else:
            self.__dict__.pop("feature_names_in_", None)

    def _make_folds(self, X, y, targets, groups, rows, rng):
        """The folds of networks, of rows whose weights are not 0."""
        is_all = len(rows) == len(targets)
        if groups is not None:
            groups = as_groups(groups, len(targets))[rows]
        folds = make_folds(
            len(rows),
            self.n_networks,
            rng,
            labels=targets[rows] if is_classifier(self) else None,
            groups=groups,
            cv=self.cv,
            X=X if is_all else _safe_indexing(X, rows),
            y=y[rows],
        )
        return [Fold(rows[fold.training], rows[fold.validation]) for fold in folds]

    def _check_folds(self, folds, scoring, score, targets):
        """Refuse folds that lack a class, or by whose validation rows the score cannot be told."""
        if not is_classifier(self):
            return
        check_classes(folds, targets, self.classes_)
        if not isinstance(score, Score):
            return
        for i, fold in enumerate(folds):
            even = np.full((len(fold.validation), len(self.classes_)), 1 / len(self.classes_))
            if np.isnan(scoring.gain_of(fold.validation)(even)):
                raise ValueError(
                    f"scoring must not be {self.scoring!r} for folds with validation rows of one "
                    f"class, which fold {i} has: take fewer folds, or another score"
                )

    def _train(self, problem, rng, clock, report):
        """Candidates for the ensemble, and their shares."""
        if self.search is None:
            one = train_candidate(problem, self._recipe(), rng, clock, report, self.n_threads)
            return [one], np.ones(1)
        return search(problem, self._recipe(), rng, clock, report, self.n_threads)

    def _take(self, candidates, shares, problem, scoring, targets, encoding):
        """Take over what training came to; return sentences to warn with."""
        chosen = [one for one, share in zip(candidates, shares, strict=True) if share]
        trained = [one for candidate in chosen for one in candidate.trained]
        if any(one.interrupted for one in trained) and not any(one.best_epoch for one in trained):
            raise KeyboardInterrupt
        if not all(candidate.known for candidate in chosen):
            if any(one.unscored for one in trained):
                raise ValueError("scoring must give a number, it gave nan for each fold")
            raise Diverged(
                "training has diverged in its first epoch: learning_rate must be smaller than "
                f"{chosen[0].recipe.learning_rate:g}"
            )
        mean = sum(
            share * one.predictions for share, one in zip(shares[shares > 0], chosen, strict=True)
        )
        rows = np.flatnonzero(np.isfinite(mean.reshape(len(mean), -1)).all(axis=1))
        self._encoding, self._task = encoding, problem.task
        self._ensemble = ensemble_of(candidates, shares)
        known = [one for candidate in chosen for one in candidate.known]
        self._validation = [one.fold.validation for one in known]
        self.networks_ = self._ensemble.networks
        self.network_weights_ = np.array(self._ensemble.shares)
        self.history_ = [_history(one, scoring) for one in known]
        self.scoring_ = scoring.name
        self.__dict__.pop("feature_importances_", None)
        self.oof_predictions_ = self._finish(mean, rows, targets, problem.weights)
        self.oof_score_ = scoring.shown(scoring.gain_of(rows)(self.oof_predictions_[rows]))
        return _notes(trained, self.time_limit)

    # Columns.

    @property
    def feature_kinds_(self):
        """Of each column "number", "boolean", "category", "date" or "constant"."""
        check_is_fitted(self, "networks_")
        return ["constant" if kind == "dropped" else kind for kind in self._encoding.kinds]

    @property
    def categories_(self):
        """Of each column of booleans or categories what they are; None of others."""
        check_is_fitted(self, "networks_")
        return [list(one.categories) or None for one in self._encoding.features]

    # Predictions.

    def _check_names(self, frame: Frame):
        """Refuse columns in another order, which `Encoding` would find by name."""
        names = self._encoding.names
        if (
            frame.names is not None
            and frame.names != names
            and names is not None
            and sorted(frame.names) == sorted(names)
        ):
            raise ValueError(
                "The feature names should match those that were passed during fit.\nFeature names "
                "must be in the same order as they were in fit.\n"
            )

    def _raw_predictions(self, X):
        """Mean probabilities without temperature, values or quantiles, for rows of a table."""
        if "_ensemble" not in self.__dict__:
            check_is_fitted(self, "networks_")
        frame = read_frame(X)
        self._check_names(frame)
        is_named = frame.names is not None and self._encoding.names is not None
        if frame.n_columns != self.n_features_in_ and not is_named:
            raise ValueError(
                f"X has {frame.n_columns} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input"
            )
        matrix = self._encoding.encode(frame)
        return self._ensemble.predict(matrix, self._task, self.n_threads)

    def compute_importances(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Any:
        """Measure by how much the score falls where a column is shuffled.

        Each network predicts its validation rows, which it has not seen, with one column of the
        table in a random order (Breiman, "Random forests", 2001). This is no part of `fit`, as it
        takes the training data, which the estimator does not keep, and a pass over them for each
        column.

        Parameters
        ----------
        X, y, sample_weight
            Those of `fit`, in the same order of rows.

        Returns
        -------
        ndarray of shape (n_features,)
            Also kept as `feature_importances_`: the loss of score, which is positive for columns
            that matter, also where a smaller score is better.

        Raises
        ------
        ValueError
            If X has not as many rows as in `fit`, or if the estimator comes from a file, which
            does not tell which rows were validated by which network.
        """
        check_is_fitted(self, "networks_")
        if self._validation is None:
            raise ValueError(
                "X must be the table of this estimator's own fit, but it was loaded from a file, "
                "which does not say what rows its networks have seen: keep a pickle for that"
            )
        frame = read_frame(X)
        if frame.n_rows != len(self.oof_predictions_):
            raise ValueError(
                f"X must have the {len(self.oof_predictions_)} rows of fit, got {frame.n_rows}"
            )
        self._check_names(frame)
        X = _with_rows(X)
        y, targets = self._check_y(y, frame.n_rows, known=True)
        weights = self._check_weights(sample_weight, X, targets)
        score = as_score(self.scoring, is_classifier(self), self._levels())
        scoring = Scoring(score, targets, weights, X, y, getattr(self, "classes_", None))
        matrix = self._encoding.encode(frame)
        shuffling = np.random.default_rng(0)
        rows = np.unique(np.concatenate(self._validation))
        gain = scoring.gain_of(rows)
        base = gain(self._out_of_fold(matrix, [], shuffling)[rows])
        importances = np.zeros(self.n_features_in_)
        for i in range(self.n_features_in_):
            columns = self._encoding.inputs_of(i)
            if columns:
                shuffled = self._out_of_fold(matrix, columns, shuffling)
                importances[i] = base - gain(shuffled[rows])
        self.feature_importances_ = importances
        return self.feature_importances_

    def _out_of_fold(self, matrix, columns, rng):
        """Predictions of rows by networks that did not see them, with columns shuffled."""
        ensemble, predictions = self._ensemble, []
        shuffled = matrix[:, columns][rng.permutation(len(matrix))]
        for network, rows in zip(ensemble.networks, self._validation, strict=True):
            taken = matrix[rows]
            taken[:, columns] = shuffled[rows]
            outputs = network.predict(taken, n_threads=self.n_threads)
            predictions.append(self._task.decode(outputs))
        return mean_by_row(len(matrix), self._validation, predictions, ensemble.shares)

    def plot(self) -> Any:
        """Draw the score of each network over its epochs and, of classes, how far to trust them.

        Returns
        -------
        matplotlib.figure.Figure
            On the left the validation score after each epoch, with a dot at the best one of each
            network. On the right, for a classifier, the share of rows that are right by how sure
            the ensemble is of them, out of fold, before and after the temperature.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        from fastmlp.sklearn.tabular_display import plot_ensemble

        check_is_fitted(self, "networks_")
        return plot_ensemble(self)

    # Copies.

    def save(self, path: str | PathLike[str]) -> None:
        """Write all networks, the columns and the parameters to one safetensors file.

        Left out are `oof_predictions_` and `feature_importances_`, a generator given as
        `random_state`, and what rows were in which fold: keep a pickle for these.

        Raises
        ------
        TypeError
            For a parameter that is no plain value, such as a splitter or a scorer.
        """
        from fastmlp.sklearn.tabular_files import save_tabular

        check_is_fitted(self, "networks_")
        save_tabular(self, path)

    def to_onnx(self, path):
        """Write what the estimator predicts for a table to a file of ONNX, for other runtimes.

        All that becomes of the columns is in the file. Each column that counts is an input by its
        name, (n, 1): texts as strings, all else as float64, in which NaN is missing. A missing
        text is any that `fit` has not seen. Of an array of numbers all columns are the one input
        "X" (n, n_features). Outputs are "label" (n,) and "probabilities" (n, n_classes), or
        "variable" (n, 1), (n, n_quantiles) of quantiles, as float64. See docs/exporting.md.

        Parameters
        ----------
        path : str or os.PathLike

        Raises
        ------
        ImportError
            Without the package onnx, of the extra `onnx`.
        ValueError
            For columns of dates, and for classes, that ONNX has no type for.
        TypeError, OSError
            As of `save`.
        """
        from fastmlp.sklearn.tabular_onnx import write_tabular

        check_is_fitted(self, "networks_")
        write_tabular(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read an estimator that `save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or if it is not one of this class.
        """
        from fastmlp.sklearn.tabular_files import load_tabular

        return load_tabular(cls, path)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.target_tags.required = True
        return tags


def _with_rows(X):
    """A table as one of which scikit-learn can take rows: not all sparse ones are, nor batches."""
    return X.tocsr() if sparse.issparse(X) else unbatched(X)


def _refuse_target(X, frame, y):
    """Refuse a table with names in which one column is the targets."""
    if frame.names is None or len(y) < 2:
        return
    n_head = min(len(y), _HEAD)
    head = frame if n_head == len(y) else read_frame(_safe_indexing(X, np.arange(n_head)))
    found = find_target(head, y[:n_head], range(frame.n_columns))
    if head is not frame:
        found = find_target(frame, y, found)
    if found:
        raise ValueError(
            f"X must not hold the target, but {frame.where(found[0])} is the same as y in all "
            f"{len(y)} rows: drop it"
        )


def _history(one, scoring):
    """How the training of a network went, as plain values."""
    return {
        "best_epoch": one.best_epoch,
        "scores": [scoring.shown(gain) for gain in one.gains],
        "losses": [float(loss) for loss in one.losses],
    }


def _notes(trained, time_limit):
    """Sentences about networks that had no time, that diverged, or that had no score."""
    notes = []
    diverged = [one for one in trained if one.diverged]
    if diverged:
        notes.append(
            f"{len(diverged)} of {len(trained)} networks have diverged, without which the ensemble "
            "goes: a smaller learning_rate may be better"
        )
    unscored = [one for one in trained if one.unscored and one.predictions is None]
    if unscored:
        notes.append(
            f"scoring gave nan for the folds of {len(unscored)} of {len(trained)} networks, "
            "without which the ensemble goes"
        )
    interrupted = any(one.interrupted for one in trained)
    by = "Ctrl-C" if interrupted else f"time_limit={time_limit}"
    n_short = sum(not one.best_epoch for one in trained) - len(diverged) - len(unscored)
    if n_short == len(trained):
        notes.append(
            f"{by} left no time for one epoch of one network: it predicts as far as it came, "
            "which may be badly"
        )
    elif n_short:
        notes.append(
            f"{by} left no time for {n_short} of {len(trained)} networks, without which the "
            "ensemble goes"
        )
    elif interrupted:
        notes.append("Ctrl-C ended training: networks are as they were after their best epoch")
    return notes
