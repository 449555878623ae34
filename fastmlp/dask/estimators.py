"""Estimators that fit and predict Dask collections, with scikit-learn's parameters."""

import copy
import functools
import inspect
import warnings
from abc import abstractmethod
from numbers import Integral
from typing import Any, ClassVar

import dask
import numpy as np
from sklearn.base import _fit_context, clone, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils._param_validation import Interval
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastmlp import sklearn as local
from fastmlp.dask.blocks import by_blocks, kind_of, partitions
from fastmlp.dask.cluster import Cluster, find_client
from fastmlp.dask.fitting import elsewhere
from fastmlp.feature_names import names_of
from fastmlp.optimizers import Stochastic
from fastmlp.options import defaults_of
from fastmlp.parts import fit_loaders, fit_parts
from fastmlp.result import Status, Trace
from fastmlp.schedules import Schedule
from fastmlp.sklearn.base import DIVERGED, BaseMLP
from fastmlp.sklearn.checking import check_X
from fastmlp.sklearn.classifier import _has_probabilities
from fastmlp.sklearn.labels import as_labels, class_factors, distinct, find
from fastmlp.validation import as_real, rounded

# Parameters of the local estimators that need all rows in one place, with what they have to be.
_NEED_ONE_PLACE = {
    "early_stopping": False,
    "standardize": False,
    "warm_start": False,
    "scoring": None,
    "constant": "refuse",
}


def _signature(kind):
    """That of a local estimator, with solver="lbfgs", `client` and `rounds`."""
    parameters = [
        one.replace(default="lbfgs") if one.name == "solver" else one
        for one in inspect.signature(kind.__init__).parameters.values()
    ]
    own = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("client", "rounds")
    ]
    return inspect.Signature([*parameters, *own])


class _OnDask(BaseMLP):
    """What both estimators share."""

    _local: ClassVar[type]

    client: Any
    rounds: int | None

    def _take_parameters(self, positional, named, client, rounds):
        named = {"solver": "lbfgs"} | named
        super().__init__(*positional, **named)
        self.client = client
        self.rounds = rounds

    # What differs between the two estimators.

    @abstractmethod
    def _look(self, cluster):
        """Take what there is to know of the targets of all parts; return some as an example."""

    @abstractmethod
    def _for_targets(self, cluster):
        """The estimator by which workers make targets and weights of what they hold."""

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None):
        """Train on Dask collections, whose partitions stay where they are.

        Parameters
        ----------
        X : dask.array.Array (n_samples, n_features), or Dask data frame
        y : dask.array.Array or Dask series, (n_samples,), or (n_samples, n_outputs)
            With the partitions of X.
        sample_weight : dask.array.Array or Dask series (n_samples,), or None, default None

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            As of `fastmlp.dask.fit`; the estimator then stays as it was.
        """
        self.__dict__.pop("_continuation", None)
        with self._unchanged_on_failure():
            note = self._fit_on_dask(X, y, sample_weight)
        if note is not None:
            warnings.warn(note, ConvergenceWarning, stacklevel=3)
        return self

    def _fit_on_dask(self, X, y, sample_weight):
        stages = self._checked_stages(incremental=False)
        self._refuse_what_needs_one_place(stages)
        client = find_client(self.client)
        cut = partitions(X, y, sample_weight)
        dtype = self._take_columns(X)
        cluster = Cluster(client, functools.partial(_as_arrays, self._sent(), dtype), cut)
        outputs = self._outputs(self._look(cluster))
        self._start(self.n_features_in_, outputs, dtype)
        cluster.change(functools.partial(_with_targets, self._for_targets(cluster)))
        weight = sum(cluster.ask(_weight))
        if not weight > 0:
            raise ValueError("X must have rows, and some with a weight, got none in all partitions")
        net = self.network_.copy()
        result = fit_loaders(
            net,
            [elsewhere] * len(cut),
            cluster,
            None,  # of arrays, by now
            **defaults_of(fit_parts, but=("map",))
            | {
                "optimizer": stages,
                "loss": outputs.loss,
                "l2": self.alpha / weight,
                "callbacks": self._user_callbacks(),
                "time_limit": self.time_limit,
                "progress": bool(self.verbose),
                "n_threads": self.n_threads,
            }
            | self._options_of_rounds(),
        )
        return self._take_result(net, result)

    def _refuse_what_needs_one_place(self, stages):
        for name, allowed in _NEED_ONE_PLACE.items():
            if getattr(self, name) != allowed:
                raise ValueError(
                    f"{name} must be {allowed!r} where rows are in several places, "
                    f"got {getattr(self, name)!r}"
                )
        if not isinstance(self.learning_rate, Schedule) and self.learning_rate != "constant":
            raise ValueError(
                "learning_rate must be 'constant' or a Schedule where rows are in several places, "
                f"got {self.learning_rate!r}"
            )
        if self.rounds is None and any(isinstance(stage, Stochastic) for stage in stages):
            raise ValueError(
                "solver must go by all rows, such as 'lbfgs', or rounds be given for local "
                f"averaging, got {self.solver!r}"
            )

    def _options_of_rounds(self):
        """What `fit_parts` takes besides, with `rounds` and without."""
        if self.rounds is None:
            return {"epochs": self.max_iter}
        rng = np.random.default_rng()
        rng.bit_generator.state = self._shuffle
        return {
            "rounds": self.rounds,
            "epochs": max(1, self.max_iter // self.rounds),
            "batch_size": self.batch_size,
            "shuffle": bool(self.shuffle),
            "clip_norm": self.clip_norm,
            "seed": int(rng.integers(2**63)),
        }

    def _take_columns(self, X):
        """Take down the columns of X; return the dtype to compute in."""
        self.__dict__.pop("feature_names_in_", None)
        if kind_of("X", X) == "array":
            self.n_features_in_, dtypes = X.shape[1], {X.dtype}
        else:
            self.n_features_in_, dtypes = len(X.columns), {*X.dtypes}
            names = names_of(X)
            if names is not None:
                self.feature_names_in_ = np.array(names, object)
        return np.dtype(np.float32 if dtypes == {np.dtype(np.float32)} else np.float64)

    def _sent(self):
        """The estimator as it goes to workers: they need no network, and have no client."""
        sent = copy.copy(self)
        for name in ("client", "callbacks"):
            setattr(sent, name, None)
        for name in ("network_", "coefs_", "intercepts_", "trace_", "loss_curve_", "_states"):
            sent.__dict__.pop(name, None)
        return sent

    def _take_result(self, net, result):
        """Take over what came of it; return a warning or None."""
        if result.status is Status.NOT_FINITE or not np.isfinite(net.theta).all():
            raise ValueError(DIVERGED)
        self._assign(net)
        records = result.trace[1:]
        self.n_iter_ = result.n_iter
        self.trace_ = Trace(records)
        self.loss_curve_ = [record.objective for record in records]
        self.loss_ = result.loss
        self.best_loss_ = min([*self.loss_curve_, result.loss])
        if self.rounds is None and result.status in (Status.COMPLETED, Status.TIME_LIMIT):
            return f"{result.message}, and the optimization hasn't converged yet."
        return None

    # Predictions.

    def to_local(self):
        """The fitted estimator as the one for data in memory, without Dask."""
        check_is_fitted(self)
        parameters = self.get_params(deep=False)
        found = self._local(
            **{
                name: value
                for name, value in parameters.items()
                if name not in ("client", "rounds")
            }
        )
        fitted = {name: value for name, value in vars(self).items() if name not in parameters}
        vars(found).update(fitted)
        found._assign(self.network_.copy())
        return found

    def _by_blocks(self, method, X, n_columns, dtype):
        """What a local method gives for each block of X, when it is asked for."""
        worker = self.to_local().set_params(n_threads=1, callbacks=None)
        return by_blocks(X, functools.partial(_call, worker, method), n_columns, dtype)

    def score(self, X, y, sample_weight=None):
        """The local score; of Dask collections predictions and targets come here, but not X."""
        if not dask.is_dask_collection(X):
            return super().score(X, y, sample_weight)
        lazy: Any = self.predict(X)
        predicted, judge = lazy.compute(), self.to_local()
        y, sample_weight = (
            one.compute() if dask.is_dask_collection(one) else one for one in (y, sample_weight)
        )
        vars(judge)["predict"] = lambda _: predicted
        return judge.score(None, y, sample_weight)

    def save(self, path):
        """Write the local estimator, see `to_local`, to a file that its class can `load`."""
        self.to_local().save(path)

    # Copies.

    def __getstate__(self):
        return super().__getstate__() | {"client": None}  # of this process

    def __sklearn_clone__(self):
        parameters = self.get_params(deep=False)
        client = parameters.pop("client")  # shared, for no copy can be made of it
        copies = {name: clone(value, safe=False) for name, value in parameters.items()}
        return type(self)(client=client, **copies)


_CONSTRAINTS: dict[str, list] = {
    "rounds": [Interval(Integral, 1, None, closed="left"), None],
}


class MLPClassifier(_OnDask, local.MLPClassifier):
    """`fastmlp.MLPClassifier` for Dask collections.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver and all others
        As of `fastmlp.MLPClassifier`, but for the solver's default: "lbfgs", which like others
        that are not stochastic goes by all rows of all partitions. Not for rows in several places
        are early_stopping, standardize, warm_start, scoring, constant="predict" and the learning
        rates "invscaling" and "adaptive"; patience (n_iter_no_change), max_fun and
        validation_fraction are of no effect.
    client : distributed.Client or None, default=None
        None is the one that was made last in this process. Pickles are without it.
    rounds : int or None, default=None
        Local averaging for a stochastic solver, see `fastmlp.fit_parts`: max_iter epochs in so
        many rounds.

    Attributes
    ----------
    As of `fastmlp.MLPClassifier`; ``n_iter_`` and ``loss_curve_`` are of iterations or rounds.

    Notes
    -----
    Labels are gathered from all partitions, of which each may have some classes only. Predictions
    for Dask collections are Dask arrays, computed block by block when they are asked for;
    predictions for arrays in memory are arrays.

    Examples
    --------
    >>> from distributed import Client
    >>> import dask.array as da
    >>> import fastmlp.dask
    >>> client = Client(n_workers=1, processes=False, dashboard_address=":0")
    >>> X = da.random.default_rng(0).normal(size=(600, 4), chunks=(200, 4))
    >>> classifier = fastmlp.dask.MLPClassifier((8,), max_iter=50, tol=0.01, random_state=0)
    >>> classifier.fit(X, X[:, 0] > 0).score(X, X[:, 0] > 0) > 0.95
    True
    >>> client.close()
    """

    _local = local.MLPClassifier
    _parameter_constraints: ClassVar[dict] = {
        **local.MLPClassifier._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(self, *positional, client=None, rounds=None, **parameters):
        self._take_parameters(positional, parameters, client, rounds)

    __init__.__signature__ = _signature(local.MLPClassifier)  # type: ignore[attr-defined]

    def _look(self, cluster):
        found = cluster.ask(_distinct_labels)
        found = [labels for labels in found if len(labels)]
        if not found:
            raise ValueError("y must have labels, but all partitions are empty")
        self._indicator = None
        self.classes_ = distinct(np.concatenate(found))[0]
        self._check_whether_trivial(self.classes_)
        return self.classes_

    def _for_targets(self, cluster):
        sent = self._sent()
        if self.class_weight == "balanced":
            sums = sum(cluster.ask(functools.partial(_class_sums, self.classes_)))
            factors = class_factors("balanced", self.classes_, np.arange(len(sums)), sums)
            sent.class_weight = dict(zip(self.classes_.tolist(), factors.tolist(), strict=True))
        return sent

    def predict(self, X):
        """Predict the class of each row: lazily, a Dask array, if X is a Dask collection."""
        if not dask.is_dask_collection(X):
            return super().predict(X)
        check_is_fitted(self)
        return self._by_blocks("predict", X, None, self.classes_.dtype)

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Probability of each class: lazily, a Dask array, if X is a Dask collection."""
        if not dask.is_dask_collection(X):
            return super().predict_proba(X)
        check_is_fitted(self)
        return self._by_blocks("predict_proba", X, len(self.classes_), self.network_.dtype)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Logarithm of `predict_proba`: lazily, a Dask array, if X is a Dask collection."""
        if not dask.is_dask_collection(X):
            return super().predict_log_proba(X)
        check_is_fitted(self)
        return self._by_blocks("predict_log_proba", X, len(self.classes_), self.network_.dtype)


class MLPRegressor(_OnDask, local.MLPRegressor):
    """`fastmlp.MLPRegressor` for Dask collections.

    Parameters
    ----------
    hidden_layer_sizes, activation, solver and all others
        As of `fastmlp.MLPRegressor`, but for what `fastmlp.dask.MLPClassifier` says.
    client, rounds
        As of `fastmlp.dask.MLPClassifier`.

    Attributes
    ----------
    As of `fastmlp.MLPRegressor`; ``n_iter_`` and ``loss_curve_`` are of iterations or rounds, and
    losses are those of `fastmlp.Objective`, also for "poisson".

    Examples
    --------
    >>> from distributed import Client
    >>> import dask.array as da
    >>> import fastmlp.dask
    >>> client = Client(n_workers=1, processes=False, dashboard_address=":0")
    >>> X = da.random.default_rng(0).normal(size=(600, 4), chunks=(200, 4))
    >>> regressor = fastmlp.dask.MLPRegressor(hidden_layer_sizes=(8,), random_state=0)
    >>> regressor.fit(X, X[:, 0]).score(X, X[:, 0]) > 0.95
    True
    >>> client.close()
    """

    _local = local.MLPRegressor
    _parameter_constraints: ClassVar[dict] = {
        **local.MLPRegressor._parameter_constraints,
        **_CONSTRAINTS,
    }

    def __init__(self, *positional, client=None, rounds=None, **parameters):
        self._take_parameters(positional, parameters, client, rounds)

    __init__.__signature__ = _signature(local.MLPRegressor)  # type: ignore[attr-defined]

    def _look(self, cluster):
        spans = [span for span in cluster.ask(_span_of_targets) if span is not None]
        if not spans:
            raise ValueError("y must have targets, but all partitions are empty")
        counts, lows, highs = zip(*spans, strict=True)
        shapes = {low.shape for low in lows}
        if len(shapes) > 1:
            raise ValueError(f"y must have as many columns in all partitions, got {sorted(shapes)}")
        low, high = np.min(lows, axis=0), np.max(highs, axis=0)
        n_rows = sum(counts)
        if np.array_equal(low, high):
            self._check_whether_trivial(np.broadcast_to(low, (n_rows, *low.shape)))
        return np.array([low, high])

    def _for_targets(self, cluster):
        return self._sent()

    def predict(self, X):
        """Predict the targets of each row: lazily, a Dask array, if X is a Dask collection."""
        if not dask.is_dask_collection(X):
            return super().predict(X)
        check_is_fitted(self)
        n_columns = None if self.n_outputs_ == 1 else self.n_outputs_
        return self._by_blocks("predict", X, n_columns, self.network_.dtype)


# What workers do with a partition. Empty ones are left as they are: the fit leaves them out.


def _as_arrays(estimator, dtype, X, y, sample_weight):
    """A partition as arrays, its columns checked."""
    y = as_labels(y) if is_classifier(estimator) else as_real("y", y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if is_classifier(estimator) and y.ndim != 1:
        raise ValueError(f"y must be labels (n_samples,), got the shape {y.shape}")
    if len(X):
        X = np.ascontiguousarray(rounded(check_X(estimator, X), dtype))
    return X, y, None if sample_weight is None else np.asarray(sample_weight)


def _with_targets(estimator, X, y, sample_weight):
    """What a partition is trained on: X, the network's targets, and weights if there are any."""
    if not len(X) or not (sample_weight is None or np.any(sample_weight)):
        return X[:0], y[:0]
    vars(estimator).pop("feature_names_in_", None)  # X is an array by now
    X, y = estimator._check_targets(X, y, False, True)
    weights = BaseMLP._check_weights(estimator, sample_weight, X, y)
    if getattr(estimator, "class_weight", None) is not None:
        weights = np.ones(len(X)) if weights is None else weights
        weights = weights * estimator._class_factors(y, weights)
    targets = estimator._outputs(y).targets
    return (X, targets) if weights is None else (X, targets, weights)


def _distinct_labels(part):
    return distinct(part[1])[0]


def _class_sums(classes, part):
    _, labels, weights = part
    return np.bincount(find(labels, classes), weights, len(classes))


def _span_of_targets(part):
    """Rows of a part, and the smallest and largest of each column of its targets."""
    targets = part[1]
    return (len(targets), targets.min(axis=0), targets.max(axis=0)) if len(targets) else None


def _weight(part):
    return float(part[2].sum()) if len(part) > 2 else float(len(part[0]))


def _call(estimator, method, rows):
    return getattr(estimator, method)(rows)
