"""What the classifier and the regressor share: parameters, fitting, weights, files."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy import sparse
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastmlp.losses import LOSS_PARAMETERS, LOSSES
from fastmlp.monitor import Monitor
from fastmlp.network import MLP
from fastmlp.objective import Objective
from fastmlp.optimizers import Optimizer, Stochastic
from fastmlp.result import Status, Trace
from fastmlp.running import HAND_OVER, run_solver, run_stochastic
from fastmlp.schedules import Schedule
from fastmlp.sklearn.scaling import Scaling
from fastmlp.sklearn.sparse_rows import SparseObjective, blocks
from fastmlp.sklearn.stages import (
    RATE_DIVISOR,
    SMALLEST_RATE,
    as_stages,
    check_number_rate,
    is_stochastic,
    name_of,
    with_schedule,
)
from fastmlp.sklearn.watch import Keeper, Report, Watch
from fastmlp.validation import parse_name

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """scikit-learn's protocol of callbacks, which this version of it does not have."""


# scikit-learn's names of activations that have another one here.
_TO_FASTMLP = {"logistic": "sigmoid", "exp": "exponential"}
_TO_SKLEARN = {ours: theirs for theirs, ours in _TO_FASTMLP.items()}

_ACTIVATION_NAMES = {
    "identity",
    "logistic",
    "tanh",
    "relu",
    "leaky_relu",
    "sigmoid",
    "elu",
    "selu",
    "gelu",
    "silu",
    "softplus",
    "exponential",
}

# What belongs to scikit-learn while a fit runs, so that it can end its callbacks.
_CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class Outputs(NamedTuple):
    """What the output layer is, and what it is trained on."""

    n_outputs: int
    activation: str
    loss: str
    targets: np.ndarray  # (n,) or (n, n_outputs), as `fastmlp.Objective` takes them
    offset: Callable  # of targets and weights: the constant that the loss leaves out


class Rows(NamedTuple):
    """Samples to train on or to validate with."""

    X: Any
    targets: np.ndarray
    y: np.ndarray  # as given
    sample_weight: np.ndarray | None


def partial_fit_is_there(estimator):
    """Whether the solver goes from mini-batch to mini-batch; else raise, as scikit-learn asks."""
    stages = as_stages(estimator)
    if len(stages) > 1 or not is_stochastic(stages[0]):
        raise AttributeError(
            f"partial_fit is only available for one stochastic solver, {estimator.solver!r} is not."
        )
    return True


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """Common base of `MLPClassifier` and `MLPRegressor`; not to be used directly."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(_ACTIVATION_NAMES), str, "array-like"],
        "solver": [str, Optimizer, list, tuple],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"}), Schedule],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({*LOSSES}), str],
        "scoring": [str, callable, None],
        "callbacks": [list, tuple, callable, None],
        "clip_norm": [Interval(Real, 0, None, closed="neither"), None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "standardize": ["boolean"],
    }

    # What differs between the two estimators.

    @abstractmethod
    def _check_targets(self, X, y, fresh, incremental):
        """Check X and y; return both as arrays, y as given but for its container."""

    @abstractmethod
    def _outputs(self, y) -> Outputs:
        """The output layer and the targets that stand for y."""

    @abstractmethod
    def _refuse_trivial(self, y):
        """Refuse targets from which nothing can be learned."""

    @abstractmethod
    def _plain_score(self, outputs, rows):
        """Accuracy or R² of a network's outputs; NaN if they are not finite."""

    @abstractmethod
    def _answers(self, outputs):
        """Predictions from a network's outputs."""

    # Fitting.

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y, sample_weight=None, *, validation_data=None):
        """Train on X and y, from new weights, or from the present ones with warm_start.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Used without a copy if it is C-contiguous float32 or float64; in float32 all is done
            in float32. Sparse X is only ever densified a block of rows at a time.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative, not all 0.
        validation_data : (X, y) or (X, y, sample_weight), default=None
            Scored after every epoch, and what early_stopping goes by instead of a part of X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad arguments, or if the weights are no longer finite. The estimator then stays
            as it was.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    def _partial_fit(self, X, y, sample_weight):
        return self._fit(X, y, sample_weight, None, incremental=True)

    def initialize(self, X, y):
        """Draw the starting weights for such data without fitting: an estimator at epoch 0.

        `partial_fit`, and `fit` with warm_start, begin with them.

        Parameters
        ----------
        X, y
            As of `fit`.

        Returns
        -------
        self
        """
        self._validate_params()
        with self._unchanged_on_failure():
            self._check_parameters()
            X, y = self._check_targets(X, y, True, False)
            self._refuse_trivial(y)
            outputs = self._outputs(y)
            self._start(X.shape[1], outputs, X.dtype)
            if self.standardize:
                self._standardized_start(Rows(X, outputs.targets, y, None))
        return self

    def _fit(self, X, y, sample_weight, validation_data, incremental):
        with self._unchanged_on_failure():
            notes = self._train(X, y, sample_weight, validation_data, incremental)
        for message, category in notes:
            warnings.warn(message, category, stacklevel=3)
        return self

    @contextmanager
    def _unchanged_on_failure(self):
        """Undo all that was assigned if an exception comes out."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            during = {
                name: self.__dict__[name] for name in _CALLBACK_STATE if name in self.__dict__
            }
            self.__dict__.clear()
            self.__dict__.update(before | during)
            raise

    def _train(self, X, y, sample_weight, validation_data, incremental):
        """Do what `fit` says; return warnings to be issued, as (message, category)."""
        self._check_parameters()
        stages = as_stages(self)
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._check_targets(X, y, fresh, incremental)
        if not incremental:
            self._refuse_trivial(y)
        outputs = self._outputs(y)
        sample_weight = self._check_weights(sample_weight, X, y)
        if fresh:
            self._start(X.shape[1], outputs, X.dtype)
        else:
            self._take_up(X.shape[1], outputs)
        rows, held_out = self._hold_out(
            Rows(X, outputs.targets, y, sample_weight), validation_data, incremental
        )
        net = self._network_to_train(rows)
        run = _Run(self, net, stages, outputs, rows, held_out, incremental)
        return self._finish(run, *run())

    def _check_parameters(self):
        """Check what scikit-learn's constraints cannot say."""
        sizes = self._hidden_sizes()
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        name = parse_name("loss", self.loss, ("log_loss", *LOSSES), _loss_parameters())[0]
        if (name == "log_loss") > is_classifier(self):
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        for callback in self._user_callbacks():
            if not callable(callback):
                raise TypeError(f"callbacks must be callables, got {callback!r}")
        if self.scoring is not None and self.scoring != "loss":
            get_scorer(self.scoring)
        self._hidden_activations()

    def _user_callbacks(self):
        if self.callbacks is None:
            return ()
        return (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        return [int(n) for n in sizes] if hasattr(sizes, "__iter__") else [int(sizes)]

    def _hidden_activations(self):
        """Name of each hidden layer's activation, as fastmlp calls it."""
        given, n_hidden = self.activation, len(self._hidden_sizes())
        names = [given] * n_hidden if isinstance(given, str) else list(given)
        if len(names) != n_hidden:
            raise ValueError(
                f"activation must name one activation for each of the {n_hidden} hidden layers, "
                f"got {len(names)}"
            )
        return [_TO_FASTMLP.get(name, name) for name in names]

    def _check_weights(self, sample_weight, X, y):
        if sample_weight is None:
            return None
        weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
        if (weights < 0).any():
            raise ValueError(f"sample_weight must not be negative, got {weights.min()}")
        if not weights.any():
            raise ValueError("sample_weight must not be 0 for all samples, got all zeros")
        return weights

    def _start(self, n_features, outputs, dtype):
        """Draw the weights, as scikit-learn draws them, and all that a fit begins with."""
        random_state = check_random_state(self.random_state)
        hidden = self._hidden_activations()
        net = MLP(
            [n_features, *self._hidden_sizes(), outputs.n_outputs],
            activation=hidden,
            output=outputs.activation,
            dtype=dtype,
        )
        # The rule for the output layer goes by the last hidden one.
        by_layer = [*hidden, hidden[-1] if hidden else "identity"]
        for weights, biases, name in zip(net.weights, net.biases, by_layer, strict=True):
            bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / sum(weights.shape))
            weights[:] = random_state.uniform(-bound, bound, weights.shape)
            biases[:] = random_state.uniform(-bound, bound, biases.shape)
        self._assign(net)
        self.n_layers_ = len(net.layer_sizes)
        self.n_outputs_ = outputs.n_outputs
        self.out_activation_ = _TO_SKLEARN.get(outputs.activation, outputs.activation)
        self.n_iter_ = 0
        self.t_ = 0
        self.loss_curve_ = []
        self.trace_ = Trace()
        self.best_loss_ = None if self.early_stopping else np.inf
        self.validation_scores_ = None
        self.best_validation_score_ = None
        self._no_improvement_count = 0
        self._scaling = None
        self._inner = None
        self._states = {}
        self._keep_randomness(random_state)

    def _keep_randomness(self, random_state):
        """Keep where to split from, so that a warm start splits alike, and what shuffles."""
        self._split_state = random_state.get_state()
        seed = random_state.randint(0, 2**32, 4, dtype=np.uint32)
        self._shuffle = np.random.default_rng(seed).bit_generator.state

    def _take_up(self, n_features, outputs):
        """Get ready to go on from the present weights."""
        net = self._current_network(outputs.activation)
        sizes = (n_features, *self._hidden_sizes(), outputs.n_outputs)
        if net.layer_sizes != sizes:
            raise ValueError(
                "hidden_layer_sizes, features and outputs must stay as they are when a fit goes "
                f"on: the layers are {net.layer_sizes}, now asked for {sizes}"
            )
        self._assign(net)
        self._prepare_to_go_on()
        self.n_outputs_, self.n_layers_ = outputs.n_outputs, len(net.layer_sizes)

    def _prepare_to_go_on(self):
        """Fill in what a fit goes on from, where weights came from elsewhere, with nothing else."""
        for name, value in (
            ("trace_", Trace()),
            ("loss_curve_", []),
            ("t_", 0),
            ("validation_scores_", None),
            ("best_validation_score_", None),
            ("best_loss_", np.inf),
            ("_no_improvement_count", 0),
            ("_scaling", None),
            ("_inner", None),
            ("_states", {}),
        ):
            self.__dict__.setdefault(name, value)
        if not hasattr(self, "_shuffle"):
            self._keep_randomness(check_random_state(self.random_state))

    def _hold_out(self, rows, validation_data, incremental):
        """Rows to train on, and to validate with or None."""
        if validation_data is not None:
            return rows, self._check_validation(validation_data)
        if not self.early_stopping or incremental:
            return rows, None
        random_state = np.random.RandomState()
        random_state.set_state(self._split_state)
        targets = rows.targets.reshape(len(rows.targets), -1)
        # What scikit-learn stratifies by: binary classes alone.
        binary = is_classifier(self) and rows.y.ndim == 1 and len(self.classes_) == 2
        arrays = [rows.X, targets, rows.y]
        if rows.sample_weight is not None:
            arrays.append(rows.sample_weight)
        parts = train_test_split(
            *arrays,
            random_state=random_state,
            test_size=self.validation_fraction,
            stratify=targets > 0 if binary else None,
        )
        kept, held = parts[::2], parts[1::2]
        if held[0].shape[0] < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        shape = (-1,) if rows.targets.ndim == 1 else (-1, rows.targets.shape[1])
        return tuple(
            Rows(part[0], part[1].reshape(shape), part[2], part[3] if len(part) > 3 else None)
            for part in (kept, held)
        )

    def _check_validation(self, validation_data):
        if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3):
            raise ValueError(
                "validation_data must be (X, y) or (X, y, sample_weight), got "
                f"{type(validation_data).__name__}"
            )
        X, y, *weights = validation_data
        try:
            X, y = self._check_targets(X, y, False, True)
            outputs = self._outputs(y)
            sample_weight = self._check_weights(weights[0] if weights else None, X, y)
        except ValueError as error:
            raise ValueError(f"validation_data: {error}") from None
        return Rows(X, outputs.targets, y, sample_weight)

    def _network_to_train(self, rows):
        """A copy of the network, or of the one on standardized data that it stands for."""
        if self._scaling is None and self.standardize:
            if self.loss_curve_:  # it was trained without
                self._measure(rows)
            else:
                return self._standardized_start(rows)
        if self._scaling is None:
            return self.network_.copy()
        if self._inner is not None:
            folded, inner = self._inner
            if np.array_equal(folded, self.network_.theta):
                return inner.copy()
        return self._scaling.unfold(self.network_)

    def _standardized_start(self, rows):
        """Take the weights drawn for those of a network on standardized data; a copy of it."""
        self._measure(rows)
        inner = self.network_
        self._assign_folded(inner)
        return inner.copy()

    def _measure(self, rows):
        targets = self._targets_to_scale(rows)
        self._scaling = Scaling.of(rows.X, self.n_outputs_, targets, rows.sample_weight)

    def _assign_folded(self, inner):
        folded = self._scaling.fold(inner)
        self._inner = (folded.theta.copy(), inner)
        self._assign(folded)

    def _targets_to_scale(self, rows):
        """Targets (n, n_outputs) that are to be standardized, or None."""
        return

    def _finish(self, run, status, message, loss):
        """Take over what a run has reached; return warnings to be issued."""
        watch = run.watch
        losses, scores, records = watch.losses, watch.scores, watch.records
        # A solver that goes by all rows comes back from there to its best point.
        if status is Status.NOT_FINITE and (is_stochastic(run.stage) or not losses):
            if not (self.early_stopping and watch.best_theta is not None):
                raise ValueError(DIVERGED)
            losses, scores = [*losses, np.nan], [*scores, np.nan]
            records = [*records, replace(records[-1], objective=np.nan, epoch=len(losses))]
        net = run.net
        if not run.incremental and watch.best_theta is not None:
            net.theta[:] = watch.best_theta
        if self._scaling is None:
            self._assign(net)
        else:
            self._assign_folded(net)
        if not np.isfinite(self.network_.theta).all():
            raise ValueError(DIVERGED)
        self._states = run.states
        self._shuffle = run.rng.bit_generator.state
        self.n_iter_ = len(losses)
        self.t_ += round(run.data_passes * run.n_samples)
        self.loss_curve_ = [*self.loss_curve_, *losses]
        self.trace_ = _joined(self.trace_, records)
        self.loss_ = losses[-1] if losses else loss
        self._no_improvement_count = watch.n_without_gain
        if watch.scores or scores:
            self.validation_scores_ = [*(self.validation_scores_ or []), *scores]
            self.best_validation_score_ = max(
                [score for score in scores if score == score], default=None
            )
        if self.early_stopping:
            self.best_loss_ = None
        else:
            before = self.best_loss_ if run.incremental and self.best_loss_ is not None else np.inf
            self.best_loss_ = min([before, *losses]) if losses else self.loss_
            if not scores:
                self.validation_scores_ = self.best_validation_score_ = None
        if run.rate is not None:
            self.learning_rate_ = run.rate
        return run.warnings(status, message)

    def _assign(self, net):
        self.network_ = net
        self.coefs_ = list(net.weights)
        self.intercepts_ = list(net.biases)

    def _current_network(self, output=None):
        """The network, with weights that were given by hand in `coefs_` and `intercepts_`."""
        net = self.__dict__.get("network_")
        given = [*self.coefs_, *self.intercepts_]
        if net is None:
            sizes = [len(self.coefs_[0]), *(np.shape(bias)[0] for bias in self.intercepts_)]
            dtype = np.asarray(self.coefs_[0]).dtype
            net = MLP(
                sizes,
                activation=self._hidden_activations(),
                output=output or _TO_FASTMLP.get(self.out_activation_, self.out_activation_),
                dtype=dtype if dtype == np.float32 else np.float64,
            )
        views = [*net.weights, *net.biases]
        if len(given) != len(views):
            raise ValueError(
                f"coefs_ and intercepts_ must have an array for each of the {len(net.weights)} "
                f"layers, got {len(self.coefs_)} and {len(self.intercepts_)}"
            )
        for array, view in zip(given, views, strict=True):
            if array is not view:
                if np.shape(array) != view.shape:
                    raise ValueError(
                        f"coefs_ and intercepts_ must keep their shapes, got {np.shape(array)} "
                        f"for {view.shape}"
                    )
                view[:] = array
        return net

    # Predictions.

    def _check_X(self, X):
        """X as an array or CSR matrix, checked against what was seen in fit."""
        X = validate_data(
            self,
            X,
            accept_sparse="csr",
            dtype=(np.float64, np.float32),
            ensure_all_finite=False,
            reset=False,
        )
        self._check_finite(X)
        return X

    def _check_finite(self, X):
        """Refuse missing and infinite values, and name the column of the first."""
        values = X.data if sparse.issparse(X) else X
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(values.sum()) or np.isfinite(values).all():
                return
        where = sparse.coo_array(X) if sparse.issparse(X) else None
        if where is not None:
            bad = int(np.argmin(np.isfinite(where.data)))
            row, column, value = where.row[bad], where.col[bad], where.data[bad]
        else:
            row, column = np.unravel_index(int(np.argmin(np.isfinite(X))), X.shape)
            value = X[row, column]
        names = getattr(self, "feature_names_in_", None)
        name = repr(str(names[column])) if names is not None else str(column)
        what = "NaN" if np.isnan(value) else "infinity or a value too large"
        raise ValueError(
            f"Input X contains {what} in column {name}, row {row}. {type(self).__name__} does "
            "not accept missing or infinite values: impute them or drop their rows first."
        )

    def _forward(self, net, X):
        """Outputs of a network, for sparse rows in blocks."""
        if not sparse.issparse(X):
            return net.predict(X, n_threads=self.n_threads)
        result = np.empty((X.shape[0], net.layer_sizes[-1]), net.dtype)
        for start, stop, dense in blocks(X, net.dtype):
            result[start:stop] = net.predict(dense, n_threads=self.n_threads)
        return result

    def _network_outputs(self, X, net=None):
        check_is_fitted(self)
        net = self._current_network() if net is None else net
        return self._forward(net, self._check_X(X))

    def _logits(self, X):
        """Outputs before the output activation, (n, n_outputs)."""
        check_is_fitted(self)
        net = self._current_network()
        raw = MLP.from_architecture(net.architecture() | {"output": "identity"}, net.theta)
        return self._network_outputs(X, raw)

    def predict(self, X):
        """Predict the targets of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        """
        return self._answers(self._network_outputs(X))

    def hidden_activations(self, X):
        """What each hidden layer gives for rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)

        Returns
        -------
        list of ndarray of shape (n_samples, n_units), one for each hidden layer
        """
        check_is_fitted(self)
        net = self._current_network()
        layer, found = self._check_X(X), []
        for weights, biases, name in zip(net.weights, net.biases, net.activations, strict=True):
            if len(found) == len(net.weights) - 1:
                break
            one = MLP(weights.shape, output=name, dtype=net.dtype)
            one.weights[0][:], one.biases[0][:] = weights, biases
            layer = self._forward(one, layer)
            found.append(layer)
        return found

    # Copies.

    def __getstate__(self):
        state = super().__getstate__()
        if "network_" not in state:
            return state
        state = state.copy()
        state["network_"] = self._current_network()
        # Views of the network's vector, to be made anew.
        del state["coefs_"], state["intercepts_"]
        return state

    def __setstate__(self, state):
        super().__setstate__(state)
        if "network_" in state:
            self._assign(self.network_)

    def save(self, path):
        """Write the network, the parameters and the fitted attributes to one safetensors file.

        `MLP.load` reads the network from it. Left out are callbacks, generators of random
        numbers and the optimizer's state: keep a pickle to go on exactly.

        Raises
        ------
        TypeError
            For a parameter that is no plain value or optimizer, such as a scorer.
        """
        from fastmlp.sklearn.convert import save_estimator

        save_estimator(self, path)

    @classmethod
    def load(cls, path):
        """Read an estimator that `save` wrote.

        Raises
        ------
        FileNotFoundError, ValueError
            If there is no such file, or if it is not one of this class.
        """
        from fastmlp.sklearn.convert import load_estimator

        return load_estimator(cls, path)

    @classmethod
    def from_sklearn(cls, estimator):
        """Make an estimator that predicts as a fitted one of scikit-learn does, to round-off.

        Raises
        ------
        TypeError, NotFittedError
            If it is not scikit-learn's counterpart of this class, or not fitted.
        """
        from fastmlp.sklearn.convert import from_sklearn

        return from_sklearn(cls, estimator)

    def to_sklearn(self):
        """Make scikit-learn's estimator that predicts as this one, to round-off.

        A solver or schedule that scikit-learn does not have becomes its default.

        Raises
        ------
        ValueError
            For activations or losses that it does not have.
        """
        from fastmlp.sklearn.convert import to_sklearn

        return to_sklearn(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


class _Run:
    """One call of fit: an objective, optimizers in turn, and the watch over them."""

    def __init__(self, estimator, net, stages, outputs, rows, held_out, incremental):
        self.net = net
        self.incremental = incremental
        self.notes: list[tuple[str, type[Warning]]] = []
        self.n_samples = rows.X.shape[0]
        self.states = dict(estimator._states)
        self.rng = np.random.default_rng()
        self.rng.bit_generator.state = estimator._shuffle
        self.rate = None
        self.data_passes = 0.0
        self._estimator = estimator
        self._stages = stages
        self._loss = outputs.loss
        self._scaling = estimator._scaling
        self._held_out = held_out
        self.stage = stages[-1]
        total = rows.sample_weight.sum() if rows.sample_weight is not None else self.n_samples
        self._objective = self._objective_of(rows, l2=estimator.alpha / total)
        self._validation = None if held_out is None else self._objective_of(held_out)
        self._report = Report(int(estimator.verbose), None if incremental else estimator.max_iter)
        self._offset = outputs.offset(rows.targets, rows.sample_weight)
        self._n_epochs = 1 if incremental else estimator.max_iter
        self.watch = self._make_watch(rows)

    def _objective_of(self, rows, l2=0.0):
        targets, X = rows.targets, rows.X
        if self._scaling is not None:
            if targets.ndim == 1 and self._estimator._targets_to_scale(rows) is not None:
                targets = self._scaling.transform_targets(targets[:, np.newaxis])[:, 0]
            elif self._estimator._targets_to_scale(rows) is not None:
                targets = self._scaling.transform_targets(targets)
        loss = self._estimator._loss_to_train(self._loss, self._scaling)
        options = {
            "loss": loss,
            "sample_weight": rows.sample_weight,
            "l2": float(l2),
            "n_threads": self._estimator.n_threads,
        }
        if sparse.issparse(X):
            return SparseObjective(self.net, X, targets, scaling=self._scaling, **options)
        if self._scaling is not None:
            X = self._scaling.transform(X)
        return Objective(self.net, X, targets, **options)

    def _make_watch(self, rows):
        estimator = self._estimator
        by_score = estimator.early_stopping
        carried = estimator._no_improvement_count if self.incremental else 0
        best_loss = estimator.best_loss_ if self.incremental else np.inf
        return Watch(
            self.net,
            by_score=by_score,
            best=-np.inf if by_score else (np.inf if best_loss is None else best_loss),
            tolerance=estimator.tol,
            most_without_gain=estimator.n_iter_no_change,
            n_without_gain=carried,
            score=None if self._held_out is None else self._score,
            must_be_finite=estimator.scoring not in (None, "loss"),
            offset=self._offset,
            callbacks=estimator._user_callbacks(),
            hook=self._make_hook(rows),
            report=self._report if estimator.verbose else None,
        )

    def _make_hook(self, rows):
        """What tells scikit-learn's callbacks of an epoch, if there are any."""
        estimator = self._estimator
        if not getattr(estimator, "_skl_callbacks", None):
            return None
        data = {
            "X": rows.X,
            "y": rows.y,
            "metadata": {"sample_weight": rows.sample_weight},
        }
        self._context = estimator._init_callback_context(max_subtasks=self._n_epochs)
        self._context.call_on_fit_task_begin(estimator=estimator, **data)
        self._context_data = data

        def hook():
            context = self._context.subcontext(task_name="epoch")
            context.call_on_fit_task_begin(estimator=estimator, **data)
            return context.call_on_fit_task_end(
                estimator=estimator, reconstruction_attributes=self._fitted_attributes, **data
            )

        return hook

    def _fitted_attributes(self):
        """What a copy of the estimator needs in order to predict as if training ended now."""
        kept = self._candidate().__dict__
        return {name: kept[name] for name in kept if name.endswith("_") or name == "_scaling"}

    def _candidate(self):
        """An estimator with the network as it is now, to be scored."""
        estimator = self._estimator
        candidate = object.__new__(type(estimator))
        candidate.__dict__.update(estimator.__dict__)
        net = self.net.copy() if self._scaling is None else self._scaling.fold(self.net)
        candidate._assign(net)
        return candidate

    def _score(self, record):
        estimator, rows = self._estimator, self._held_out
        if estimator.scoring == "loss":
            return -record.validation_loss
        if estimator.scoring is None:
            return self._plain_score()
        candidate = self._candidate()
        candidate.__dict__.pop("feature_names_in_", None)  # rows.X is an array
        weights = {} if rows.sample_weight is None else {"sample_weight": rows.sample_weight}
        return get_scorer(estimator.scoring)(candidate, rows.X, rows.y, **weights)

    def _plain_score(self):
        outputs = self._validation.outputs() if sparse.issparse(self._held_out.X) else None
        if outputs is None:
            objective = self._validation
            X = objective.samples[0].reshape(objective.n_rows, -1)
            outputs = self.net.predict(X, n_threads=self._estimator.n_threads)
        if self._scaling is not None:
            outputs = self._scaling.restore_targets(outputs)
        return self._estimator._plain_score(outputs, self._held_out)

    def __call__(self):
        """Run the optimizers; return status, message and the objective."""
        estimator = self._estimator
        validate = None if self._validation is None else self._validation.value
        try:
            with Monitor(
                network=self.net,
                callbacks=(self.watch,),
                time_limit=estimator.time_limit,
                validate=validate,
            ) as monitor:
                for i, stage in enumerate(self._stages):
                    self.stage = stage
                    status, message, loss = self._run_stage(i, stage, monitor)
                    if status not in HAND_OVER and not self.watch.is_over:
                        break
                    if i + 1 < len(self._stages):
                        self.watch.n_without_gain = 0
                status, message = monitor.outcome(status, message)
                self.data_passes = monitor.data_passes
        finally:
            self._report.close()
        if getattr(self, "_context", None) is not None:
            self._context.call_on_fit_task_end(
                estimator=estimator,
                reconstruction_attributes=self._fitted_attributes,
                **self._context_data,
            )
        return status, message, float(loss) + self._offset

    def _run_stage(self, index, stage, monitor):
        watch, estimator = self.watch, self._estimator
        n_epochs = self._n_epochs if stage.budget is None else stage.budget
        if self.incremental:
            n_epochs = 1
        patient = np.inf if not is_stochastic(stage) and not estimator.early_stopping else None
        watch.most_without_gain = estimator.n_iter_no_change if patient is None else patient
        if not is_stochastic(stage):
            monitor.limit(None, estimator.max_fun)
            keeper = Keeper(watch, None, wanted=False)
            return run_solver(self._objective, stage, n_epochs, monitor, self.rng, False, keeper)
        monitor.limit()
        state = self.states.get(index)
        if state is not None and state["kind"] != _kind(stage, self.net):
            state = None
        if not isinstance(stage, Stochastic):
            keeper = Keeper(watch, self._resume_solver(state), wanted=True)
            ended = run_solver(self._objective, stage, n_epochs, monitor, self.rng, False, keeper)
        else:
            keeper, ended = self._run_updates(index, stage, n_epochs, state, monitor)
        self._keep_state(index, stage, keeper, state)
        return ended

    def _run_updates(self, index, stage, n_epochs, state, monitor):
        """Run an optimizer that updates after each mini-batch, dividing its rate if it adapts."""
        estimator, watch = self._estimator, self.watch
        batch_size = self._batch_size()
        adaptive = estimator.learning_rate == "adaptive"
        if adaptive:
            initial = check_number_rate(stage)
            if self.incremental and state is not None and state["initial"] == initial:
                stage = replace(stage, learning_rate=state["rate"])
        resumed = {
            "updates_before": 0 if state is None else state["optimizer"]["n_updates"],
            "epochs_before": 0 if state is None else state["epochs"],
            "samples_before": estimator.t_,
            "updates_per_epoch": -(-self.n_samples // batch_size),
            "n_samples": self.n_samples,
        }
        stage = with_schedule(stage, estimator, resumed)
        batches = {
            "batch_size": batch_size,
            "shuffle": bool(estimator.shuffle),
            "clip_norm": estimator.clip_norm,
            "rng": self.rng,
        }
        saved = None if state is None else self._resume(state["optimizer"])
        keeper = Keeper(watch, saved, wanted=True)
        first_epoch = monitor.epoch
        while True:
            left = n_epochs - (monitor.epoch - first_epoch)
            ended = run_stochastic(
                self._objective, stage, left, monitor, **batches, exact=False, keeper=keeper
            )
            if not watch.is_over:
                break
            reason = self._reason()
            if not adaptive or stage.learning_rate <= SMALLEST_RATE:
                self._say(f"{reason} Stopping.")
                break
            rate = stage.learning_rate / RATE_DIVISOR
            self._say(f"{reason} Setting learning rate to {rate:f}")
            stage = replace(stage, learning_rate=rate)
            keeper.saved = self._resume(keeper.latest)
            if monitor.epoch - first_epoch == n_epochs:
                ended = (Status.COMPLETED, f"{n_epochs} epochs done", ended[2])
                watch.n_without_gain = 0
                break
            watch.n_without_gain = 0
        n_updates = (
            resumed["updates_before"] if keeper.latest is None else keeper.latest["n_updates"]
        )
        self.rate = float(stage.learning_rates(n_updates, 1, resumed["updates_per_epoch"])[0])
        return keeper, ended

    def _keep_state(self, index, stage, keeper, before):
        """Keep what the next call goes on from: after the epoch whose weights are kept."""
        latest = keeper.latest
        chosen = latest if self.incremental or keeper.best is None else keeper.best
        if chosen is None:
            return
        if isinstance(stage, Stochastic):
            chosen = {name: chosen[name] for name in ("state", "n_updates")}
        epochs = len(self.watch.losses) if before is None else before["epochs"]
        self.states[index] = {
            "kind": _kind(stage, self.net),
            "optimizer": chosen,
            "epochs": epochs if before is None else epochs + len(self.watch.losses),
            "rate": self.rate,
            "initial": getattr(stage, "learning_rate", None),
        }

    def _resume(self, optimizer):
        """What `run_stochastic` takes up: a state, at the parameters as they are now."""
        theta = self.net.theta.copy()
        return {
            "state": optimizer["state"],
            "n_updates": optimizer["n_updates"],
            "theta": theta,
            "best": theta,
            "best_objective": np.inf,
        }

    def _resume_solver(self, state):
        """The same for a solver that goes from mini-batch to mini-batch, on new rows."""
        if state is None:
            return None
        x = self.net.theta.astype(np.float64)
        fresh = {"order": np.empty(0, np.int64), "next": 0, "rng": self.rng.bit_generator.state}
        return {
            "state": state["optimizer"]["state"] | {"x": x},
            "data": fresh,
            "best": x,
            "best_value": np.inf,
        }

    def _batch_size(self):
        given = self._estimator.batch_size
        if given == "auto":
            return min(200, self.n_samples)
        if given > self.n_samples:
            self.notes.append(
                (
                    "Got `batch_size` less than 1 or larger than sample size. It is going to be "
                    "clipped",
                    UserWarning,
                )
            )
        return min(int(given), self.n_samples)

    def _reason(self):
        estimator = self._estimator
        what = "Validation score" if estimator.early_stopping else "Training loss"
        return (
            f"{what} did not improve more than tol={estimator.tol:f} for "
            f"{estimator.n_iter_no_change} consecutive epochs."
        )

    def _say(self, message):
        if self._estimator.verbose:
            self._report.say(message)

    def warnings(self, status, message):
        """Warnings about how the fit ended."""
        if status is Status.INTERRUPTED:
            return [("Training interrupted by user.", UserWarning)]
        if self.incremental:
            return self.notes
        if self.watch.is_over or status in (Status.STOPPED, Status.CONVERGED):
            return self.notes
        if status is Status.NOT_FINITE and is_stochastic(self.stage):
            text = f"The fit diverged in epoch {len(self.watch.losses) + 1}."
        elif status is Status.COMPLETED and is_stochastic(self.stage):
            text = (
                f"Stochastic Optimizer: Maximum iterations ({self._n_epochs}) reached and the "
                "optimization hasn't converged yet."
            )
        elif status is Status.TIME_LIMIT:
            text = f"{message}, and the optimization hasn't converged yet."
        else:
            text = (
                f"{name_of(self.stage)} failed to converge after {len(self.watch.losses)} "
                f"iteration(s): {message}. You might also want to scale the data, see "
                "standardize=True, or to increase max_iter or max_fun."
            )
        return [*self.notes, (text, ConvergenceWarning)]


def _kind(stage, net):
    """Which states an optimizer can go on from: those of the same kind and size."""
    return type(stage), getattr(stage, "n_slots", None), net.theta.size


def _joined(trace, records):
    """A trace with the records of a later fit, whose counts go on from its end."""
    if not len(trace):
        return Trace(records)
    last = trace[-1]
    return Trace(
        [
            *trace,
            *(
                replace(
                    record,
                    seconds=record.seconds + last.seconds,
                    epoch=record.epoch + last.epoch,
                    data_passes=record.data_passes + last.data_passes,
                    n_loss_evals=record.n_loss_evals + last.n_loss_evals,
                    n_grad_evals=record.n_grad_evals + last.n_grad_evals,
                )
                for record in records
            ),
        ]
    )


def _loss_parameters():
    return {name: parameter for name, (parameter, _) in LOSS_PARAMETERS.items()}
