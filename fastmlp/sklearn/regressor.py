"""The regressor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.special import xlogy
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import column_or_1d

from fastmlp.losses import check_loss
from fastmlp.scaling import scales_targets, units
from fastmlp.sklearn.base import BaseMLP, partial_fit_is_there
from fastmlp.sklearn.checking import DTYPES, check_finite, is_plain, validate_data
from fastmlp.sklearn.run import Outputs
from fastmlp.validation import check_unmasked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, Self

    from numpy.typing import ArrayLike

    from fastmlp.inputs import Categorical, Numeric
    from fastmlp.options import Callbacks, Optimizers
    from fastmlp.schedules import Schedule
    from fastmlp.sources.windowed import Windowed

# Output activations of losses whose outputs are not any numbers.
_OUTPUTS = {
    "poisson": "exponential",
    "binary_cross_entropy": "sigmoid",
    "cross_entropy": "softmax",
}


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multilayer perceptron for numbers, with scikit-learn's parameters and attributes.

    See docs/sklearn.md for what is different from ``sklearn.neural_network.MLPRegressor``.

    Parameters
    ----------
    loss : str, default="squared_error"
        Any loss of `fastmlp.MLP`, summed over outputs: "squared_error" (half of it), "poisson"
        (half the deviance, with exponential outputs), "absolute_error", "huber", "huber(2.5)",
        "quantile(0.9)", or "quantile(0.1, 0.9)" with the same target in a column for each level;
        "logistic" and "hinge" for targets 1 and -1, "binary_cross_entropy" for targets in [0, 1],
        "cross_entropy" for distributions, or "cross_entropy(0.1)" with label smoothing.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, \
learning_rate_init, power_t, max_iter, shuffle, random_state, tol, verbose, warm_start, momentum, \
nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, epsilon, \
n_iter_no_change, max_fun, callbacks, clip_norm, time_limit, n_threads, init, norm, dropout, \
input_dropout, residual, tied, input_scale, inputs, members
        As of `MLPClassifier`.
    scoring : str, callable or None, default=None
        Validation score: None is R², "loss" is minus the validation loss, else any scorer of
        scikit-learn.
    standardize : bool, default=False
        Whether to train on features, and for an identity output on targets, scaled to mean 0
        and variance 1. The scaling becomes a part of the weights; losses are those of scaled
        targets. Refused as by `MLPClassifier`.
    constant : {"refuse", "predict"}, default="refuse"
        What to do with targets that are all the same, from which nothing can be learned: "predict"
        predicts them, without training, as estimators need that fit a column or a part of the rows
        at a time.

    Attributes
    ----------
    As of `MLPClassifier`, but for `classes_`.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastmlp import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(early_stopping=True, standardize=True, random_state=0)
    >>> bool(model.fit(X, y).score(X, y) > 0.4)
    True
    """

    __sklearn_counterpart__ = "MLPRegressor"
    _score_name = "r2"

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: int | Sequence[int] = (100,),
        activation: str | Sequence[str] = "relu",
        *,
        solver: Optimizers = "adam",
        alpha: float = 0.0001,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: str | Schedule = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool | Windowed = True,
        random_state: int | np.random.RandomState | np.random.Generator | None = None,
        tol: float = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        scoring: str | Callable[..., float] | None = None,
        callbacks: Callbacks | None = None,
        clip_norm: float | None = None,
        time_limit: float | None = None,
        n_threads: int | None = None,
        standardize: bool = False,
        constant: str = "refuse",
        init: str | None = None,
        norm: str | Sequence[str | None] | None = None,
        dropout: float | Sequence[float] | Schedule | str = 0.0,
        input_dropout: float = 0.0,
        residual: bool | Sequence[bool] = False,
        tied: Sequence[tuple[int, int]] = (),
        input_scale: bool = False,
        inputs: Sequence[Numeric | Categorical] | None = None,
        members: int = 1,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.scoring = scoring
        self.callbacks = callbacks
        self.clip_norm = clip_norm
        self.time_limit = time_limit
        self.n_threads = n_threads
        self.standardize = standardize
        self.constant = constant
        self.init = init
        self.norm = norm
        self.dropout = dropout
        self.input_dropout = input_dropout
        self.residual = residual
        self.tied = tied
        self.input_scale = input_scale
        self.inputs = inputs
        self.members = members

    @available_if(partial_fit_is_there)
    def partial_fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Train one epoch on X and y, going on with weights, optimizer, schedule and shuffling.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.

        Returns
        -------
        self
        """
        return self._partial_fit(X, y, sample_weight)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """R² of the predictions, as scikit-learn's, in any unit of y; masked values are refused.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.

        Returns
        -------
        float
        """
        check_unmasked("y", y)
        check_unmasked("sample_weight", sample_weight)
        return _r2(y, self.predict(X), sample_weight)

    def _check_targets(self, X, y, fresh, incremental):
        if (
            fresh
            or not is_plain(self, X)
            or self._plain_targets(y) is None
            or len(y) != len(X)
            or not np.isfinite(y).all()
        ):
            X, y = validate_data(
                self,
                X,
                y,
                accept_sparse="csr",
                multi_output=True,
                y_numeric=True,
                dtype=DTYPES,
                ensure_all_finite=False,
                reset=fresh,
            )
        check_finite(self, X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _plain_targets(self, y):
        return y if type(y) is np.ndarray and y.ndim == 1 and y.dtype in DTYPES else None

    def _why_trivial(self, y):
        # One sample is no constant: it may be the first of many.
        if len(y) > 1 and (y == y[0]).all():
            return f"y must not be constant, all {len(y)} targets are {y[0]}"
        return None

    def _loss_name(self):
        return self.loss.partition("(")[0].strip()

    def _outputs(self, y):
        activation = _OUTPUTS.get(self._loss_name(), "identity")
        offset = _poisson_offset if self._loss_name() == "poisson" else _no_offset
        return Outputs(1 if y.ndim == 1 else y.shape[1], activation, self.loss, y, offset)

    def _targets_to_scale(self, rows):
        targets = np.asarray(rows.targets, np.float64).reshape(len(rows.targets), -1)
        output = _OUTPUTS.get(self._loss_name(), "identity")
        return targets if scales_targets(self._loss_name(), output, targets.shape[1]) else None

    def _loss_to_train(self, loss, scaling):
        if scaling is None:
            return loss
        output = _OUTPUTS.get(self._loss_name(), "identity")
        name, _, parameters = check_loss(loss, output, len(scaling.target_scale))
        return scaling.scale_loss(name, parameters)

    def _plain_score(self, outputs, rows):
        if not np.isfinite(outputs).all():
            return np.nan
        return _r2(rows.y, self._answers(outputs), rows.sample_weight)

    def _answers(self, outputs):
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


@np.errstate(all="ignore")
def _r2(y, predictions, sample_weight):
    """R² of targets in a unit in which their squares neither overflow nor vanish."""
    y, predictions = (
        np.asarray(values, np.float64).reshape(len(values), -1) for values in (y, predictions)
    )
    if y.shape == predictions.shape:  # or else refused in the last line
        unit = units(y)
        y, predictions = y / unit, predictions / unit
    return float(r2_score(y, predictions, sample_weight=sample_weight))


def _no_offset(targets, sample_weight):
    return 0.0


@np.errstate(all="ignore")
def _poisson_offset(targets, sample_weight):
    """What the deviance has besides fastmlp's loss, so that it is 0 where outputs are targets."""
    constant = (xlogy(targets, targets) - targets).reshape(len(targets), -1).sum(axis=1)
    return float(np.average(constant, weights=sample_weight))
