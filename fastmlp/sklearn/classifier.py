"""The classifier."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from scipy import sparse
from scipy.special import expit, log_expit, log_softmax, logsumexp
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from fastmlp.losses import LOSSES
from fastmlp.sklearn.base import BaseMLP, partial_fit_is_there
from fastmlp.sklearn.checking import DTYPES, check_finite, is_plain, validate_data
from fastmlp.sklearn.labels import (
    are_numbers,
    as_labels,
    class_factors,
    distinct,
    find,
    is_indicator,
)
from fastmlp.sklearn.run import Outputs
from fastmlp.validation import check_unmasked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Literal, Self

    from numpy.typing import ArrayLike

    from fastmlp.inputs import Categorical, Numeric
    from fastmlp.options import Callbacks, ClassWeight, Optimizers
    from fastmlp.schedules import Schedule
    from fastmlp.sources.windowed import Windowed

# Losses of outputs that are no probabilities, on labels 1 and -1.
_MARGIN_LOSSES = ("logistic", "hinge")


def _no_offset(targets, sample_weight):
    return 0.0


def _has_probabilities(estimator):
    if estimator.loss.partition("(")[0].strip() == "hinge":
        raise AttributeError("predict_proba is not available for the loss 'hinge'")
    return True


def _log_of_mean(logs):
    """Logarithms of the mean of the members' probabilities, of which `logs` has those if 3-d."""
    if logs.ndim < 3:
        return logs
    return logsumexp(logs, axis=1) - math.log(logs.shape[1])


def _inside(probabilities):
    """Probabilities that are neither 0 nor 1, by which their logarithms are finite."""
    limits = np.finfo(probabilities.dtype)
    return np.clip(probabilities, limits.tiny, 1 - limits.epsneg, out=probabilities)


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multilayer perceptron for classes, with scikit-learn's parameters and attributes.

    See docs/sklearn.md for what is different from ``sklearn.neural_network.MLPClassifier``.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
        Units of each hidden layer.
    activation : str or list of str, default="relu"
        Of all hidden layers or one for each: "identity", "logistic" (or "sigmoid"), "tanh",
        "relu", "leaky_relu", "leaky_relu(0.2)", "elu", "selu", "gelu", "silu", "mish",
        "softplus", "exponential"; with a trainable number for each unit "prelu",
        "parametric(selu)", "parametric(mish)", as of `fastmlp.MLP`.
    solver : str, Optimizer or list of them, default="adam"
        A name such as "adam", "sgd", "lbfgs", "adamw", "rmsprop", "bfgs", which takes its
        numbers from the parameters below; or an object of fastmlp, or a written call such as
        "rmsprop(rho=0.9)", which has its own. A list runs one after the other.
    alpha : float, default=0.0001
        Strength of the L2 penalty: alpha / (2 sum of sample weights) times the sum of squared
        weights is added to the mean loss, whatever the batch size.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch; "auto" is min(200, n_samples).
    learning_rate : {"constant", "invscaling", "adaptive"} or Schedule, default="constant"
        For "sgd", "adam" and the like, up to "nadam"; without effect on solvers that choose their
        steps themselves. "invscaling": learning_rate_init / (samples seen + 1)^power_t in each
        epoch. "adaptive": divided by 5 whenever patience runs out.
    learning_rate_init : float, default=0.001
    power_t : float, default=0.5
    max_iter : int, default=200
        Epochs of a stochastic solver, iterations of another; of each in a list.
    shuffle : bool or fastmlp.Windowed, default=True
        Whether a stochastic solver takes the rows of each epoch in random order. `Rows`, and
        large arrays that are read in windows, are shuffled by the default `Windowed`, or by the
        one that is given, which is for any X.
    random_state : int, RandomState instance or None, default=None
        Of the starting weights, which are those that scikit-learn draws, of the split for early
        stopping, likewise, and of the shuffling.
    tol : float, default=1e-4
        Patience counts epochs that are not better by this; gradient tolerance of other solvers.
    verbose : bool or int, default=False
        1 is a progress bar, more is a line for each epoch.
    warm_start : bool, default=False
        Whether `fit` goes on from the present weights and optimizer's state. On the same data many
        short fits then are one long fit, to the bit, while each ends with its last epoch: a fit
        keeps the weights of its best epoch, and the next one goes on from there. It cannot be so
        for a list of solvers, which begins with its first one in every fit, nor for SciPy's "TNC",
        whose max_iter counts evaluations, nor past the end of a long fit with its "SLSQP". A
        solver that is not stochastic begins anew, at the present weights, where data or its
        parameters have changed, and keeps its state only while this is True.
    momentum : float, default=0.9
        Of "sgd".
    nesterovs_momentum : bool, default=True
        Of "sgd".
    early_stopping : bool, default=False
        Stop by the validation score, for every solver.
    validation_fraction : float, default=0.1
        Part of X held out for early stopping, unless `fit` is given validation_data. Of `Rows`
        the other rows stay in their order, before `shuffle`.
    beta_1, beta_2, epsilon : float, default=0.9, 0.999, 1e-8
        Of "adam" and "adamw".
    n_iter_no_change : int or inf, default=10
        Patience: so many epochs in a row may bring no improvement.
    max_fun : int, default=15000
        Gradient evaluations of a solver that is not stochastic.
    loss : str, default="log_loss"
        "log_loss" is cross-entropy of softmax outputs, or of one sigmoid for two classes and
        for each label. "cross_entropy" and "binary_cross_entropy" ask for one of these, and
        "cross_entropy(0.1)" for label smoothing: 0.1 of a target spread evenly over all classes;
        "logistic" and "hinge" train an identity output for each class on 1 and -1; others, such
        as "squared_error", compare probabilities with 0 and 1.
    class_weight : dict, list of dict, "balanced" or None, default=None
        Factors of the sample weights by class, in training and in the validation score; 1 for a
        class without a name. "balanced" gives all classes the same sum of sample weights. For
        multilabel targets a dict of the factors of 0 and 1 for each label, which are multiplied.
    scoring : str, callable or None, default=None
        Validation score: None is the accuracy, "loss" is minus the validation loss, else any
        scorer of scikit-learn. A callable is given validation rows as an array, or as `Rows`
        where these take more than 128 MB.
    callbacks : list of callable, default=None
        Called with a `fastmlp.Progress` after each epoch; raising StopIteration ends the fit.
        With standardize the network they see is that on standardized data.
    clip_norm : float or None, default=None
        Largest norm of a mini-batch's gradient.
    time_limit : float or None, default=None
        Seconds.
    n_threads : int or None, default=None
        At most so many; None is as many as are of use.
    standardize : bool, default=False
        Whether to train on features scaled to mean 0 and variance 1; the scaling becomes a part
        of the weights, so that predictions take raw features. Codes of categories stay as they
        are. Refused where no weights can undo it: for embeddings of numbers, or a first layer
        that is residual or tied.
    constant : {"refuse", "predict"}, default="refuse"
        What to do with targets of a single class, from which nothing can be learned: "predict"
        predicts it, with probability 1 in a single column, without training, as estimators need
        that fit a part of the classes or rows at a time.
    init : str or None, default=None
        Distribution of the starting weights, a name of `fastmlp.MLP`; "data" goes by the rows of
        the first fit. None is as scikit-learn draws them, or "auto" with any of what follows.
    norm : {"batch", "layer"}, list of them or None, default=None
        Norm of the hidden layers' pre-activations, by the statistics of a mini-batch or of a row.
        Early stopping goes back to the running statistics of the best epoch, too. This and what
        follows is as of `fastmlp.MLP`, which says more.
    dropout : float, list of float, or Schedule, default=0.0
        Probability that an output of a hidden layer is replaced by 0 in an update.
    input_dropout : float, default=0.0
        The same for what the first layer takes, one-hot codes included.
    residual : bool or list of bool, default=False
        Whether a hidden layer adds its input to its output; True is wherever widths agree.
    tied : list of pairs of int, default=()
        Layers, counted from 1, that share their weights.
    input_scale : bool, default=False
        Whether each input is multiplied by a trainable factor of its own.
    inputs : sequence of fastmlp.Numeric and fastmlp.Categorical, or None, default=None
        How columns of X enter: as numbers or embeddings of them, as categories, one-hot or
        embedded. None is all as they are. Columns of categories hold codes; a missing one is -1 or
        NaN, which no other column may hold. X must be dense then.
    members : int, default=1
        So many networks in one that share the weights of hidden layers; predictions are the mean
        of theirs.

    Attributes
    ----------
    network_ : fastmlp.MLP
        The network, whose weights `coefs_` and `intercepts_` are.
    trace_ : fastmlp.Trace
        A record for each element of `loss_curve_`: seconds, objective, validation loss.
    learning_rate_ : float
        Of the next update of a stochastic solver.
    classes_, coefs_, intercepts_, loss_, best_loss_, loss_curve_, validation_scores_, \
best_validation_score_, n_iter_, t_, n_layers_, n_outputs_, out_activation_, n_features_in_, \
feature_names_in_
        As scikit-learn's, filled for every solver.

    Examples
    --------
    >>> from fastmlp import MLPClassifier
    >>> X, y = [[0.0], [1.0], [2.0], [3.0]], [0, 0, 1, 1]
    >>> clf = MLPClassifier(solver="lbfgs", random_state=0).fit(X, y)
    >>> clf.predict([[0.5], [2.5]])
    array([0, 1])
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss", *LOSSES}), str],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    __sklearn_counterpart__ = "MLPClassifier"
    _score_name = "accuracy"

    classes_: np.ndarray
    _indicator: Any = None  # no rows of multilabel targets, to hold predictions as these were held

    def __init__(
        self,
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
        loss: str = "log_loss",
        class_weight: ClassWeight = None,
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
        self.class_weight = class_weight
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
    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Train one epoch on X and y, going on with weights, optimizer, schedule and shuffling.

        Parameters
        ----------
        X, y, sample_weight
            As of `fit`.
        classes : array-like of shape (n_classes,), default=None
            All that will ever come; needed in the first call.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            Also for class_weight="balanced": a chunk does not tell how frequent the classes are.
        """
        if type(classes) in (list, np.ndarray) and self._has_classes(classes):
            classes = None  # as of a later call, which need not say them
        return self._partial_fit(X, y, sample_weight, classes)

    def _has_classes(self, classes):
        return "classes_" in self.__dict__ and np.array_equal(classes, self.classes_)

    def _before_partial_fit(self, classes):
        given = self.class_weight if isinstance(self.class_weight, list) else [self.class_weight]
        if "balanced" in given:
            raise ValueError(
                "class_weight must not be 'balanced' for partial_fit, which sees a part of the "
                "data at a time: give the factors of compute_class_weight('balanced', "
                "classes=classes, y=y) as a dict, y being a large sample of the targets"
            )
        check_unmasked("classes", classes)
        self._take_classes(classes)

    def _take_classes(self, classes):
        """Take the classes of a first `partial_fit`, or check those of a later one."""
        known = getattr(self, "classes_", None)
        if classes is None:
            if known is None:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            return
        classes = distinct(as_labels(classes))[0]
        if known is None:
            if len(classes) < 2 and self.constant == "refuse":
                raise ValueError(f"classes must be at least two, got only one class: {classes}")
            self.classes_ = classes
        elif len(classes) != len(known) or (find(classes, known) < 0).any():
            raise ValueError(
                f"`classes={classes!r}` is not the same as on last call to partial_fit, was: "
                f"{known!r}"
            )

    def _check_targets(self, X, y, fresh, incremental):
        if (
            incremental
            and not fresh
            and is_plain(self, X)
            and self._plain_targets(y) is not None
            and len(y) == len(X)
        ):
            check_finite(self, X)
            return X, y
        check_unmasked("y", y)
        y, values = as_labels(y), None
        if not are_numbers(y):
            values, y = distinct(y)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            dtype=DTYPES,
            ensure_all_finite=False,
            reset=fresh,
        )
        check_finite(self, X)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if y.ndim == 2 and (values is not None or not is_indicator(y)):
            raise ValueError(
                "y must be labels (n_samples,), or (n_samples, n_labels) of 0 and 1 that tell "
                f"which each row has, got the shape {y.shape} with other values"
            )
        if values is not None:
            y = values[y]
        elif y.ndim == 1:
            check_classification_targets(y)
        classes = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
        if fresh:
            self._indicator = y[:0] if y.ndim == 2 else None
            if not (incremental and hasattr(self, "classes_")):
                self.classes_ = classes
                return X, y
        n_classes = len(self.classes_)
        if (y.ndim == 2) != self._is_multilabel() or (y.ndim == 2 and y.shape[1] != n_classes):
            raise ValueError(
                f"y must be {f'(n_samples, {n_classes})' if self._is_multilabel() else 'labels'} "
                f"as in the first call, got the shape {y.shape}"
            )
        found = find(y if y.ndim == 1 else classes, self.classes_)
        if self.warm_start and not incremental:
            if (found < 0).any() or len(classes) < n_classes:
                raise ValueError(
                    "warm_start can only be used where `y` has the same classes as in the "
                    f"previous call to fit. Previously got {self.classes_}, `y` has {classes}"
                )
        elif (found < 0).any():
            raise ValueError(
                "`y` has classes not in `self.classes_`. "
                f"`self.classes_` has {self.classes_}. 'y' has {classes}."
            )
        return X, y if y.ndim == 2 else self.classes_[found]  # now in one dtype

    def _plain_targets(self, y):
        classes = self.classes_
        if (
            self._indicator is not None
            or type(y) is not np.ndarray
            or y.ndim != 1
            or y.dtype != classes.dtype
            or classes.dtype.kind not in "biu"
        ):
            return None
        if len(classes) == 2 and self.out_activation_ == "logistic":
            is_second = y == classes[1]
            n_known = np.count_nonzero(is_second) + np.count_nonzero(y == classes[0])
            return is_second if n_known == len(y) else None
        indices = np.searchsorted(classes, y)
        if not (classes.take(indices, mode="clip") == y).all():
            return None
        return self._outputs(y, indices).targets

    def _why_trivial(self, y):
        if y.ndim == 1 and len(self.classes_) < 2:
            return f"y must have at least two classes, it contains only one class: {self.classes_}"
        return None

    def _outputs(self, y, indices=None):
        name = self.loss.partition("(")[0].strip()
        n_classes = len(self.classes_)
        multilabel = y.ndim == 2
        if multilabel and name == "cross_entropy":
            raise ValueError("loss must not be 'cross_entropy' for multilabel targets")
        binary = not multilabel and n_classes == 2
        if indices is None and not multilabel:
            indices = np.searchsorted(self.classes_, y)
        if name == "cross_entropy" or (name == "log_loss" and not binary and not multilabel):
            loss = self.loss if name == "cross_entropy" else "cross_entropy"
            return Outputs(n_classes, "softmax", loss, indices, _no_offset)
        if multilabel:
            dense = y.toarray() if sparse.issparse(y) else np.asarray(y)
            targets = (dense > 0).astype(np.float64)
        elif binary:
            targets = indices.astype(np.float64)
        else:
            targets = (indices[:, np.newaxis] == np.arange(n_classes)).astype(np.float64)
        n_outputs = 1 if targets.ndim == 1 else targets.shape[1]
        loss = "binary_cross_entropy" if name == "log_loss" else self.loss
        if name in _MARGIN_LOSSES:
            return Outputs(n_outputs, "identity", loss, 2 * targets - 1, _no_offset)
        alone = binary or multilabel or name == "binary_cross_entropy"
        activation = "sigmoid" if alone else "softmax"
        return Outputs(n_outputs, activation, loss, targets, _no_offset)

    def _loss_to_train(self, loss, scaling):
        return loss

    @np.errstate(all="ignore")
    def _check_weights(self, sample_weight, X, y):
        weights = super()._check_weights(sample_weight, X, y)
        if self.class_weight is None:
            return weights
        weights = np.ones(y.shape[0]) if weights is None else weights
        weights = weights * self._class_factors(y, weights)
        if not weights.any():
            raise ValueError("class_weight must not make all sample weights 0, got all zeros")
        return weights

    def _class_factors(self, y, sample_weight):
        """The factor of each sample by class_weight; for labels, the product of theirs."""
        given = self.class_weight
        if y.ndim == 1:
            if isinstance(given, list):
                raise ValueError(
                    f"class_weight must be a dict or 'balanced' for one target, got {given!r}"
                )
            indices = np.searchsorted(self.classes_, y)
            return class_factors(given, self.classes_, indices, sample_weight)
        n_labels = y.shape[1]
        by_label = [given] * n_labels if given == "balanced" else given
        if (
            not isinstance(by_label, list)
            or len(by_label) != n_labels
            or not all(isinstance(one, dict | None) or one == "balanced" for one in by_label)
        ):
            raise ValueError(
                "class_weight must be 'balanced' or a list of a dict, 'balanced' or None for each "
                f"of the {n_labels} labels, got {given!r}"
            )
        factors = np.ones(y.shape[0])
        for k, one in enumerate(by_label):
            column = y[:, [k]].toarray()[:, 0] if sparse.issparse(y) else y[:, k]
            factors *= class_factors(
                one, np.array([0, 1]), (column > 0).astype(np.intp), sample_weight
            )
        return factors

    @np.errstate(all="ignore")
    def _plain_score(self, outputs, rows):
        if not np.isfinite(outputs).all():
            return np.nan
        found = self._answers(outputs)
        if sparse.issparse(found):
            right = np.asarray((found != rows.y).sum(axis=1)).ravel() == 0
        else:
            right = found == rows.y if rows.y.ndim == 1 else (found == rows.y).all(axis=1)
        return float(np.average(right, weights=rows.sample_weight))

    def _answers(self, outputs):
        threshold = 0.0 if self._margins() else 0.5
        if self._is_multilabel():
            return self._as_indicator(outputs > threshold)
        if len(self.classes_) == 2 and outputs.shape[1] == 1:
            return self.classes_[(outputs[:, 0] > threshold).astype(np.intp)]
        return self.classes_[outputs.argmax(axis=1)]

    def _margins(self):
        return self.loss.partition("(")[0].strip() in _MARGIN_LOSSES

    def _is_multilabel(self):
        return self._indicator is not None

    def _as_indicator(self, has_label):
        """Which labels rows have, held as the targets of `fit` were."""
        like = self._indicator
        held = type(like)(has_label) if sparse.issparse(like) else has_label
        return held.astype(like.dtype)

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Accuracy of the predictions; for labels the share of rows whose labels are all right.

        Masked values are refused.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
        """
        check_unmasked("y", y)
        check_unmasked("sample_weight", sample_weight)
        labels = as_labels(y)
        if are_numbers(labels):
            return super().score(X, labels, sample_weight)
        check_is_fitted(self)
        # As numbers, since scikit-learn's metrics do not take all kinds.
        true, predicted = (find(one, self.classes_) for one in (labels, self.predict(X)))
        return float(accuracy_score(true, predicted, sample_weight=sample_weight))

    @available_if(_has_probabilities)
    @np.errstate(all="ignore")
    def predict_proba(self, X: Any) -> Any:
        """Probability of each class, or of each label.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of `classes_`. Sigmoids of more than two classes are divided by their
            sum. What would round to 0 or 1 is the next number to it.
        """
        check_is_fitted(self)
        if len(self.classes_) == 1:
            return np.ones_like(self._network_outputs(X))
        if self.out_activation_ == "softmax":
            return _inside(self._network_outputs(X))
        logits = self._logits(X)
        if logits.shape[-1] == 1:  # 1 - p would round small probabilities to 0
            logits = np.concatenate([-logits, logits], axis=-1)
        elif not self._is_multilabel():
            return _inside(np.exp(self._log_shares(logits)))
        probabilities = expit(logits)
        return _inside(probabilities.mean(axis=1) if logits.ndim == 3 else probabilities)

    @available_if(_has_probabilities)
    @np.errstate(all="ignore")
    def predict_log_proba(self, X: Any) -> Any:
        """Logarithm of `predict_proba`, from the logits: right where probabilities round.

        Parameters
        ----------
        X : {array-like, sparse matrix, `fastmlp.Rows`} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
        """
        logits = self._logits(X)
        if len(self.classes_) == 1:
            return np.zeros((len(logits), 1), logits.dtype)
        if self.out_activation_ == "softmax":
            return _log_of_mean(log_softmax(logits, axis=-1))
        if logits.shape[-1] == 1:
            return _log_of_mean(log_expit(np.concatenate([-logits, logits], axis=-1)))
        if self._is_multilabel():
            return _log_of_mean(log_expit(logits))
        return self._log_shares(logits)

    def _log_shares(self, logits):
        """Logarithms of sigmoids divided by their sum."""
        logs = _log_of_mean(log_expit(logits))
        return logs - logsumexp(logs, axis=1, keepdims=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
