"""What the classifier and the regressor share: parameters, fitting, weights, files."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Set
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from scipy.special import logit
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.metrics import get_scorer
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from fastmlp.initialization import NAMES as INITIALIZATIONS
from fastmlp.losses import LOSSES, parse_loss
from fastmlp.mlp import MLP
from fastmlp.optimizers import Optimizer, Stochastic
from fastmlp.pieces import NAMES as PIECES
from fastmlp.pieces import check_pieces
from fastmlp.prediction import check_outputs, outputs_after
from fastmlp.result import Record, Status, Trace, values_of
from fastmlp.scaling import Scaling
from fastmlp.schedules import Schedule, elementwise
from fastmlp.sklearn.checking import check_sample_weight, check_X, column_name, dtype_for
from fastmlp.sklearn.continuation import Continuation
from fastmlp.sklearn.run import Data, Outputs, Run, of_validation_data
from fastmlp.sklearn.stages import STOCHASTIC, as_stages, is_stochastic
from fastmlp.sources.source import Source, blocks
from fastmlp.sources.streamed import checked_rows
from fastmlp.sources.windowed import Windowed
from fastmlp.validation import as_array, as_real, rounded

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
    "mish",
    "softplus",
    "exponential",
    "prelu",
}

# Parameters that are no flags, though Python, and scikit-learn with it, take True for 1.
_INTEGERS = (
    "batch_size",
    "max_iter",
    "n_iter_no_change",
    "max_fun",
    "n_threads",
    "random_state",
    "members",
)

# Times the smallest normal number: columns with less spread would need weights of more than some
# thousandth of the largest finite number.
_SMALLEST_SPREAD = 1024

# What fits that go on make longer in place, as scikit-learn's do: no call takes longer for them.
_GROWING = ("loss_curve_", "validation_scores_", "trace_")

# What belongs to scikit-learn while a fit runs, so that it can end its callbacks.
_CALLBACK_STATE = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


def partial_fit_is_there(estimator):
    """Whether the solver goes from mini-batch to mini-batch; else raise, as scikit-learn asks."""
    if estimator.solver in STOCHASTIC:
        return True
    stages = as_stages(estimator)
    if len(stages) > 1 or not is_stochastic(stages[0]):
        raise AttributeError(
            f"partial_fit is only available for one stochastic solver, {estimator.solver!r} is not."
        )
    return True


@_fit_context(prefer_skip_nested_validation=True)
def partial_fit(estimator, X, y, sample_weight, classes, continuation):
    """Do what a call of partial_fit does, as a whole: scikit-learn goes by the name."""
    with estimator._unchanged_on_failure():
        estimator._before_partial_fit(classes)
        return estimator._fit(X, y, sample_weight, None, True, continuation)


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
        "shuffle": ["boolean", Windowed],
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
        "constant": [StrOptions({"refuse", "predict"})],
        "init": [StrOptions({*INITIALIZATIONS}), None],
        "norm": [str, list, tuple, None],
        "dropout": [Interval(Real, 0, 1, closed="left"), Schedule, str, list, tuple],
        "input_dropout": [Interval(Real, 0, 1, closed="left")],
        "residual": ["boolean", list, tuple],
        "tied": [list, tuple],
        "input_scale": ["boolean"],
        "inputs": [list, tuple, None],
        "members": [Interval(Integral, 1, None, closed="left")],
    }

    # What `_plain_score` is to scikit-learn.
    _score_name: ClassVar[str]
    _scaling: Scaling | None

    # What differs between the two estimators.

    @abstractmethod
    def _check_targets(self, X, y, fresh, incremental):
        """Check X and y; return both as arrays, y as given but for its container."""

    @abstractmethod
    def _plain_targets(self, y):
        """Targets as `_outputs` makes them, where a fit that goes on takes y as it is.

        None where checks are needed. Whether they are finite is not looked at.
        """

    @abstractmethod
    def _outputs(self, y) -> Outputs:
        """The output layer and the targets that stand for y."""

    @abstractmethod
    def _why_trivial(self, y):
        """Say why nothing can be learned from the targets; None if something can."""

    @abstractmethod
    def _plain_score(self, outputs, rows):
        """Accuracy or R² of a network's outputs; NaN if they are not finite."""

    @abstractmethod
    def _answers(self, outputs):
        """Predictions from a network's outputs."""

    # Fitting.

    def __sklearn_is_fitted__(self):
        return "coefs_" in self.__dict__

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        validation_data=None,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Train on X and y, from new weights, or from the present ones with warm_start.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)
            Used without a copy if it is C-contiguous float32 or float64; in float32 all is done
            in float32. Sparse X is only ever densified a block of rows at a time. `Rows`, such as
            a memory map or a dataset of h5py, are read a window at a time, and so is an array of
            another dtype that would take more than 128 MB as float64. Networks of `Rows` are of
            float32 where that holds all numbers of their dtype, such as uint8.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative, not all 0. Rows of weight 0 are not held out for early stopping.
        validation_data : (X, y) or (X, y, sample_weight), default=None
            Scored after every epoch, and what early_stopping goes by instead of a part of X. Its
            X may be `Rows`, which are loaded if they take no more than 128 MB. A Pipeline hands
            it on as it is, without its transformations.
        X_val, y_val, sample_weight_val : array-like, default=None
            The same one by one, so that a Pipeline with ``transform_input=["X_val"]`` transforms
            it as it does X.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad arguments, or if the weights are no longer finite. Numbers of `Rows` are
            looked at only as they are read. The estimator then stays as it was.
        """
        given = _validation_data(validation_data, X_val, y_val, sample_weight_val)
        self.__dict__.pop("_continuation", None)
        return self._fit(X, y, sample_weight, given, incremental=False)

    def _partial_fit(self, X, y, sample_weight, classes=None):
        # Taken away until this call has come to its end: no other may use its loop meanwhile.
        continuation = self.__dict__.pop("_continuation", None)
        if (
            continuation is not None
            and sample_weight is None
            and classes is None
            and continuation.go_on(self, X, y)
        ):
            self._continuation = continuation
            return self
        return partial_fit(self, X, y, sample_weight, classes, continuation)

    def _before_partial_fit(self, classes):
        """Check and take what `_fit` is not given."""

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
            self._check_whether_trivial(y)
            outputs = self._outputs(y)
            self._start(X.shape[1], outputs, dtype_for(X))
            if self.standardize:
                self._standardized_start(Data(X, outputs.targets, y, None))
        return self

    def _fit(self, X, y, sample_weight, validation_data, incremental, continuation=None):
        with self._unchanged_on_failure():
            notes = self._train(X, y, sample_weight, validation_data, incremental, continuation)
        for message, category in notes:
            warnings.warn(message, category, stacklevel=3)
        return self

    @contextmanager
    def _unchanged_on_failure(self):
        """Undo all that was assigned, and what curves have grown by, if an exception comes out."""
        before = self.__dict__.copy()
        lengths = {name: len(before[name]) for name in _GROWING if before.get(name) is not None}
        try:
            yield
        except BaseException:
            for name, length in lengths.items():
                del before[name][length:]
            during = {
                name: self.__dict__[name] for name in _CALLBACK_STATE if name in self.__dict__
            }
            self.__dict__.clear()
            self.__dict__.update(before | during)
            raise

    def _train(self, X, y, sample_weight, validation_data, incremental, continuation):
        """Do what `fit` says; return warnings to be issued, as (message, category)."""
        goes_on = continuation is not None and continuation.is_for(self)
        stages = continuation.stages if goes_on else self._checked_stages(incremental)
        fresh = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        X, y = self._check_targets(X, y, fresh, incremental)
        is_trivial = not incremental and self._check_whether_trivial(y)
        outputs = self._outputs(y)
        sample_weight = self._check_weights(sample_weight, X, y)
        if fresh:
            self._start(X.shape[1], outputs, dtype_for(X))
        else:
            self._take_up(X.shape[1], outputs, goes_on)
        rows, held_out = self._hold_out(
            Data(X, outputs.targets, y, sample_weight), validation_data, incremental or is_trivial
        )
        net = self._network_to_train(rows)
        if not goes_on:
            continuation = Continuation(self, stages) if incremental else None
        run = Run(self, net, stages, outputs, rows, held_out, continuation)
        if is_trivial:  # of targets that the run has found to be fit for the loss
            self._make_constant(net, outputs, rows)
        notes = self._finish(run, *(run.without_training() if is_trivial else run()))
        run.end_callbacks()
        if incremental:
            continuation.keep(self, run.objective)
            self._continuation = continuation
        return notes

    def _checked_stages(self, incremental):
        """The optimizers that the parameters stand for, all of which are checked."""
        self._check_parameters()
        stages = as_stages(self)
        if not any(isinstance(stage, Stochastic) for stage in stages):
            for name, unused in (
                ("clip_norm", self.clip_norm is not None),
                ("learning_rate", isinstance(self.learning_rate, Schedule)),
            ):
                if unused:
                    raise ValueError(
                        f"{name} must not be {getattr(self, name)!r} for the solver "
                        f"{self.solver!r}, which has no use for it"
                    )
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        return stages

    def _check_parameters(self):
        """Check what scikit-learn's constraints cannot say."""
        for name in _INTEGERS:
            if isinstance(getattr(self, name), bool | np.bool_):
                raise TypeError(f"{name} must be an integer, got {getattr(self, name)!r}")
        sizes = self._hidden_sizes()
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        name = parse_loss(self.loss, ("log_loss", *LOSSES))[0]
        if (name == "log_loss") > is_classifier(self):
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}, got {self.loss!r}")
        for callback in self._user_callbacks():
            if not callable(callback):
                raise TypeError(f"callbacks must be callables, got {callback!r}")
        if self.scoring is not None and self.scoring != "loss":
            get_scorer(self.scoring)
        self._hidden_activations()

    def _check_whether_trivial(self, y):
        """Whether there is a constant to be predicted, which is refused unless asked for."""
        reason = self._why_trivial(y)
        if reason is not None and self.constant == "refuse":
            raise ValueError(f"{reason}; constant='predict' would predict that")
        return reason is not None

    def _user_callbacks(self):
        if self.callbacks is None:
            return ()
        return (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)

    def _hidden_sizes(self):
        sizes = self.hidden_layer_sizes
        if isinstance(sizes, Mapping | Set) or (isinstance(sizes, np.ndarray) and sizes.ndim != 1):
            raise TypeError(
                f"hidden_layer_sizes must be an integer or a sequence of integers, got {sizes!r}"
            )
        return [_as_size(n) for n in (sizes if hasattr(sizes, "__iter__") else [sizes])]

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

    def _given_pieces(self):
        """The parameters that are a network's pieces, as `MLP` takes them."""
        given = {name: getattr(self, name) for name in PIECES}
        return given | {"input_scale": bool(self.input_scale)}

    def _check_weights(self, sample_weight, X, y):
        if sample_weight is None:
            return None
        weights = check_sample_weight(sample_weight, X)
        if (weights < 0).any():
            raise ValueError(f"sample_weight must not be negative, got {weights.min()}")
        if not weights.any():
            raise ValueError("sample_weight must not be 0 for all samples, got all zeros")
        return weights

    def _start(self, n_features, outputs, dtype):
        """Draw the weights, as scikit-learn draws them, and all that a fit begins with."""
        random_state = check_random_state(self.random_state)
        net = MLP(
            [n_features, *self._hidden_sizes(), outputs.n_outputs],
            activation=self._hidden_activations(),
            output=outputs.activation,
            dtype=dtype,
            init="auto" if self.init is None else self.init,
            **self._given_pieces(),
        )
        net = self._drawn(net, random_state)
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

    def _drawn(self, net, random_state):
        """The network with starting weights; scikit-learn's are drawn as it draws them.

        Networks with pieces that it does not know, or with another `init`, begin as fastmlp's own.
        """
        if net._program is not None or self.init is not None:
            return net.redrawn(random_state.randint(0, 2**32, 4, dtype=np.uint32))
        hidden = net.activations[:-1]
        # The rule for the output layer goes by the last hidden one.
        by_layer = [*hidden, hidden[-1] if hidden else "identity"]
        for weights, biases, name in zip(net.weights, net.biases, by_layer, strict=True):
            bound = np.sqrt((2.0 if name == "sigmoid" else 6.0) / sum(weights.shape))
            weights[:] = random_state.uniform(-bound, bound, weights.shape)
            biases[:] = random_state.uniform(-bound, bound, biases.shape)
        return net

    def _keep_randomness(self, random_state):
        """Keep where to split from, so that a warm start splits alike, and what shuffles."""
        self._split_state = random_state.get_state()
        seed = random_state.randint(0, 2**32, 4, dtype=np.uint32)
        self._shuffle = np.random.default_rng(seed).bit_generator.state

    def _take_up(self, n_features, outputs, goes_on):
        """Get ready to go on from the present weights.

        Where a call of partial_fit `goes_on` from the last one, so does the network.
        """
        net = self._current_network(outputs.activation)
        ends = net.layer_sizes[0], net.layer_sizes[-1]
        if goes_on and ends == (n_features, outputs.n_outputs):
            self._assign(net)
            return
        sizes = (n_features, *self._hidden_sizes(), outputs.n_outputs)
        if net.layer_sizes != sizes:
            raise ValueError(
                "hidden_layer_sizes, features and outputs must stay as they are when a fit goes "
                f"on: the layers are {net.layer_sizes}, now asked for {sizes}"
            )
        given = self._given_pieces()
        asked_for = check_pieces(sizes, **given).described()
        for name in given:
            is_there = net.architecture().get(name)
            if asked_for.get(name) != is_there:
                raise ValueError(
                    f"{name} must stay as it is when a fit goes on, got {given[name]!r} for a "
                    f"network that has {'none' if is_there is None else is_there}"
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
            random_state = check_random_state(self.random_state)
            self._drawn(self.network_.copy(), random_state)  # as a first fit does before it splits
            self._keep_randomness(random_state)

    def _hold_out(self, rows, validation_data, incremental):
        """Rows to train on, and to validate with or None."""
        if validation_data is not None:
            return rows, self._check_validation(validation_data)
        if not self.early_stopping or incremental:
            return rows, None
        random_state = np.random.RandomState()
        random_state.set_state(self._split_state)
        fraction, weights = self.validation_fraction, rows.sample_weight
        chosen = np.arange(rows.X.shape[0])
        n_held = math.ceil(fraction * chosen.size)
        # What scikit-learn stratifies by: binary classes alone.
        stratified = is_classifier(self) and rows.y.ndim == 1 and len(self.classes_) == 2
        if weights is not None and not weights.all():
            # Rows without weight, as bagging makes many, count for nothing in either part.
            chosen = np.flatnonzero(weights > 0)
            n_held = max(math.ceil(fraction * chosen.size), min(n_held, 2))
            # What is left of a class may be a single row.
            stratified = stratified and 1 not in np.bincount(rows.targets[chosen] > 0)
        if n_held >= chosen.size:
            raise ValueError(
                "early_stopping must leave rows to train on, but it would hold out all "
                f"{chosen.size} that have a weight. Decrease 'validation_fraction' or use more "
                "rows."
            )
        kept, held = train_test_split(
            chosen,
            random_state=random_state,
            test_size=n_held,
            # As texts, which scikit-learn's messages quote.
            stratify=(rows.targets[chosen] > 0).astype(str) if stratified else None,
        )
        if held.size < 2:
            raise ValueError(
                "The validation set is too small. Increase 'validation_fraction' "
                "or the size of your dataset."
            )
        return rows.take(kept), rows.take(held).loaded(self.network_.dtype)

    def _check_validation(self, validation_data):
        if not isinstance(validation_data, list | tuple) or len(validation_data) not in (2, 3):
            raise ValueError(
                "validation_data must be (X, y) or (X, y, sample_weight), got "
                f"{type(validation_data).__name__}"
            )
        X, y, *weights = validation_data
        with of_validation_data():
            X, y = self._check_targets(X, y, False, True)
            outputs = self._outputs(y)
            if outputs.n_outputs != self.n_outputs_:
                raise ValueError(
                    f"y must have {self.n_outputs_} columns, as the y that is trained on, "
                    f"got {outputs.n_outputs}"
                )
            sample_weight = self._check_weights(weights[0] if weights else None, X, y)
            return Data(X, outputs.targets, y, sample_weight).loaded(self.network_.dtype)

    def _network_to_train(self, rows):
        """A copy of the network, or of the one on standardized data that it stands for."""
        if self._scaling is None and self.standardize:
            if self.loss_curve_:  # it was trained without
                self._scaling = self._measure(rows)
            else:
                return self._standardized_start(rows)
        if self._scaling is None:
            return self.network_.copy()
        if self._inner is not None:
            folded, inner = self._inner
            if np.array_equal(folded, self.network_.theta):
                return inner.copy()
        return self._scaling.unfold(self.network_)

    def _make_constant(self, net, outputs, rows):
        """Let the network give the same for all rows: their target, which they have in common."""
        target = np.asarray(rows.targets[0], np.float64).reshape(-1)
        if self._scaling is not None:
            target = self._scaling.transform_targets(target)
        net.weights[-1][:] = 0.0
        with np.errstate(divide="ignore"):
            if outputs.activation == "sigmoid":
                target = logit(target)
            elif outputs.activation in ("softmax", "exponential"):
                target = elementwise(lambda v: math.log(v) if v > 0 else -math.inf, target)
        # Infinite where only a limit gives the target, which far less gives to round-off.
        if outputs.activation != "identity":
            most = -np.log(np.finfo(net.dtype).tiny)
            target = np.clip(target, -most, most)
        net.biases[-1][:] = rounded(target, net.dtype)

    def _standardized_start(self, rows):
        """Take the weights drawn for those of a network on standardized data; a copy of it."""
        self._scaling = self._measure(rows)
        inner = self.network_
        self._assign_folded(inner, self._scaling)
        return inner.copy()

    def _measure(self, rows):
        targets = self._targets_to_scale(rows)
        categories = self.network_.categorical_columns
        X, dtype = rows.X, dtype_for(rows.X)
        if isinstance(X, Source):
            X = checked_rows(X, self.network_)
        scaling = Scaling.of(X, self.n_outputs_, targets, rows.sample_weight, categories)
        smallest = _SMALLEST_SPREAD * np.finfo(dtype).tiny
        for what, scales in (("X", scaling.scale), ("y", scaling.target_scale)):
            column = int(np.argmin(scales))
            if scales[column] < smallest:
                where = "" if len(scales) == 1 else f" in column {column_name(self, what, column)}"
                raise ValueError(
                    f"{what} must not have a standard deviation{where} below {smallest:.1e} for "
                    f"standardize=True and {dtype}, got {scales[column]:.1e}: take another "
                    "unit, in which the weights that undo the scaling are finite"
                )
        return scaling

    def _assign_folded(self, inner, scaling):
        folded = scaling.fold(inner)
        self._inner = (folded.theta.copy(), inner)
        self._assign(folded)

    def _targets_to_scale(self, rows):
        """Targets (n, n_outputs) that are to be standardized, or None."""
        return

    def _finish(self, run, status, message, loss):
        """Take over what a run has reached; return warnings to be issued."""
        watch = run.watch
        losses, scores, rows = watch.losses, watch.scores, watch.rows
        # A solver that goes by all rows comes back from there to its best point.
        if status is Status.NOT_FINITE and (is_stochastic(run.stage) or not losses):
            if not (self.early_stopping and watch.best_learned is not None):
                raise ValueError(DIVERGED)
            losses, scores = [*losses, np.nan], [*scores, np.nan]
            diverged = replace(Record(*rows[-1]), objective=np.nan, epoch=len(losses))
            rows = [*rows, values_of(diverged)]
        net = run.net
        if not run.incremental and watch.best_learned is not None:
            net.take_learned(watch.best_learned)
        if self._scaling is None:
            self._assign(net)
        else:
            self._assign_folded(net, self._scaling)
        if not np.isfinite(self.network_.theta).all():
            raise ValueError(DIVERGED)
        self._states = run.states
        self._shuffle = run.rng.bit_generator.state
        self.n_iter_ = len(losses)
        self.t_ += round(run.data_passes * run.n_samples)
        self.loss_ = losses[-1] if losses else loss
        self._no_improvement_count = watch.n_without_gain
        if scores:
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
        self.loss_curve_ += losses
        self.trace_._go_on(rows)
        if scores:
            self.validation_scores_ = self.validation_scores_ or []
            self.validation_scores_ += scores
        return run.warnings(status, message)

    def _assign(self, net):
        net.feature_names = getattr(self, "feature_names_in_", None)
        # In one go: another thread may predict meanwhile, by what belongs together.
        self.__dict__.update(network_=net, coefs_=list(net.weights), intercepts_=list(net.biases))

    def _current_network(self, output=None):
        """The network, with weights that were given by hand in `coefs_` and `intercepts_`."""
        fitted = self.__dict__.copy()  # in one go, as another thread may fit
        net, coefs, intercepts = fitted.get("network_"), fitted["coefs_"], fitted["intercepts_"]
        given = [*coefs, *intercepts]
        if net is None:
            sizes = [len(coefs[0]), *(np.shape(bias)[0] for bias in intercepts)]
            dtype = np.asarray(coefs[0]).dtype
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
                f"layers, got {len(coefs)} and {len(intercepts)}"
            )
        for array, view in zip(given, views, strict=True):
            if array is not view:
                if np.shape(array) != view.shape:
                    raise ValueError(
                        f"coefs_ and intercepts_ must keep their shapes, got {np.shape(array)} "
                        f"for {view.shape}"
                    )
                view[:] = rounded(as_real("coefs_ and intercepts_", array), net.dtype)
        return net

    # Predictions.

    def _forward(self, net, X, members=False):
        """Outputs of a network, or of each of its members."""
        return net.predict(X, n_threads=self.n_threads, members=members)

    def _network_outputs(self, X, net=None, members=False):
        check_is_fitted(self)
        net = self._current_network() if net is None else net
        outputs = self._forward(net, check_X(self, X), members)
        check_outputs(outputs.reshape(len(outputs), -1), "X")
        return outputs

    def _logits(self, X):
        """Outputs before the output activation, (n, n_outputs), or (n, members, n_outputs).

        An identity output has no other: of that it is the members' mean.
        """
        check_is_fitted(self)
        net = self._current_network()
        members = net._pieces.members > 1 and net.output != "identity"
        return self._network_outputs(X, net._before_output, members)

    def predict(self, X):
        """Predict the targets of rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If the network's outputs for a row are not finite, because its numbers are too large.
        """
        return self._answers(self._network_outputs(X))

    def hidden_activations(self, X):
        """What each hidden layer gives for rows.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)

        Returns
        -------
        list of ndarray of shape (n_samples, n_units), one for each hidden layer
            What the next layer takes: after norm, and with the layer's input added where it is
            residual. With members they are of shape (n_samples, members, n_units).
        """
        check_is_fitted(self)
        net = self._current_network()
        layer = check_X(self, X)
        if net._program is not None:
            return self._hidden_values(net, layer)
        found: list[np.ndarray] = []
        for weights, biases, name in zip(net.weights, net.biases, net.activations, strict=True):
            if len(found) == len(net.weights) - 1:
                break
            one = MLP(weights.shape, output=name, dtype=net.dtype)
            one.weights[0][:], one.biases[0][:] = weights, biases
            layer = self._forward(one, layer)
            found.append(layer)
        return found

    def _hidden_values(self, net, X):
        """What each hidden layer of a network with pieces gives."""
        parts: list[list[np.ndarray]] = [[] for _ in net._program.hidden]
        first = 0
        for block in blocks(X, net.dtype):
            rows = as_array("X", block, net.dtype)
            net.check_rows(rows, first)
            first += len(rows)
            for found, n_steps in zip(parts, net._program.hidden, strict=True):
                found.append(outputs_after(net, net._program, n_steps, rows))
        by_layer = [np.concatenate(found) for found in parts]
        return [found if net._pieces.members > 1 else found[:, 0] for found in by_layer]

    # Copies.

    def __getstate__(self):
        state = super().__getstate__().copy()
        if "network_" not in state:
            return state
        state.pop("_continuation", None)
        for name in _GROWING:
            if name in state:
                state[name] = copy(state[name])  # the estimator may make its own longer
        state["network_"] = self._current_network()
        # Views of the network's vector, to be made anew.
        del state["coefs_"], state["intercepts_"]
        return state

    def __setstate__(self, state):
        parameters = inspect.signature(type(self).__init__).parameters.values()
        defaults = {one.name: one.default for one in parameters if one.default is not one.empty}
        super().__setstate__(defaults | state)  # older pickles lack newer parameters
        if "network_" in state:
            self._assign(self.network_)

    def save(self, path):
        """Write the network, the parameters and the fitted attributes to one safetensors file.

        `MLP.load` reads the network from it. A warm start holds out the same rows as before, and
        shuffles on. Left out are callbacks, a generator given as `random_state` and the
        optimizer's state: keep a pickle to go on exactly.

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
            For activations, losses or pieces such as norm that it does not have.
        """
        from fastmlp.sklearn.convert import to_sklearn

        return to_sklearn(self)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.inputs is None
        tags.input_tags.allow_nan = self.inputs is not None  # in columns of categories
        return tags


def _validation_data(together, X_val, y_val, sample_weight_val):
    """What `fit` was given to validate with, in whichever way, as it takes it in one argument."""
    parts = {"X_val": X_val, "y_val": y_val, "sample_weight_val": sample_weight_val}
    given = [name for name, values in parts.items() if values is not None]
    if not given:
        return together
    if together is not None:
        raise ValueError(f"validation_data must be None where {given[0]} is given")
    for name in ("X_val", "y_val"):
        if name not in given:
            raise ValueError(f"{name} must be given where {given[0]} is")
    return X_val, y_val, sample_weight_val


def _as_size(n):
    """Units of a layer: an integer, or a float that is one, as a parameter search draws it."""
    is_number = isinstance(n, Real) and not isinstance(n, bool)
    if not (is_number and n == n // 1):
        raise TypeError(f"hidden_layer_sizes must hold integers, got {n!r}")
    return int(n)
