"""Stochastic optimizers as data: which compiled update to run, and with which hyperparameters.

In the formulas theta is the parameter vector, g the gradient of the objective on a mini-batch,
lr the learning rate of the update and t the number of the update, counted from 1. Products,
quotients and roots of vectors are taken element by element, and all state starts at 0.
"""

import ast
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar, Self

import numpy as np

from fastmlp import schedules
from fastmlp.kernels import codes
from fastmlp.naming import NamesArguments
from fastmlp.schedules import Schedule, check_learning_rate
from fastmlp.validation import (
    check_count,
    check_flag,
    check_not_negative,
    check_number,
    check_positive,
)
from fastmlp.written import construct, expression


def _check_fraction(name: str, value: Any) -> None:
    check_number(name, value, "a number in [0, 1)", lambda x: 0 <= x < 1)


def _check_factors(name: str, factors: Any) -> dict[str, float] | None:
    """Check factors by kind of parameters; return a copy, as the caller's may change."""
    if factors is None:
        return None
    if not isinstance(factors, Mapping):
        raise TypeError(
            f"{name} must be a mapping of kinds of parameters to numbers, such as "
            f"{{'bias': 0.1}}, got {factors!r}"
        )
    for kind, value in factors.items():
        if kind not in codes.KINDS:
            raise ValueError(f"{name} must be of {', '.join(codes.KINDS)}, got {kind!r}")
        what = name.removesuffix("s").replace("_", " ")
        check_number(f"{what} of {kind}", value, "a number of at least 0", lambda x: x >= 0)
    return dict(factors)


def _factor_of(kind: str, factors: Mapping[str, float]) -> float:
    """The factor of a kind; that of "weights" is also for the first layer's, which may have own."""
    if kind == "first_weights" and kind not in factors:
        kind = "weights"
    return factors.get(kind, 1.0)


class Optimizer(NamesArguments):
    """Anything that `MLP.fit` accepts as its optimizer: the base class of all of them."""

    @property
    def budget(self) -> int | None:
        """Its own number of epochs or iterations, or None to do as many as the caller says."""
        return None


@dataclass(frozen=True)
class Stochastic(Optimizer, ABC):
    """An optimizer that updates the parameters after every mini-batch, in compiled code.

    Parameters
    ----------
    learning_rate : float or Schedule
        Positive, or a schedule.
    epochs : int or None, default None
        Epochs of this optimizer, such as in the list ``[Adam(epochs=20), LBFGS()]``. None is as
        many as the caller says.
    factors : mapping of str to float, or None, default None
        Factors of the learning rate by kind of parameters, such as ``{"bias": 0.1}``: finite and at
        least 0, which leaves parameters as they are. The kinds are "weights", "first_weights" (of
        the first layer, which have the factor of "weights" if none is given), "bias", "norm",
        "scale", "activation", "embedding" and "member"; those without a factor have 1, and those
        that a network has not are without effect. A weight decay is multiplied by lr, and so by the
        factor as well: weights shrink by 1 - lr factor weight_decay in each update, while biases,
        norms and the scales of norms never decay. Not for `minimize`.

    Raises
    ------
    TypeError, ValueError
        If a hyperparameter is of the wrong type or out of its range.
    """

    learning_rate: float | Schedule
    epochs: int | None = field(default=None, kw_only=True)
    # A dict cannot be hashed; equal optimizers have the same hash without it.
    factors: Mapping[str, float] | None = field(default=None, kw_only=True, hash=False)

    # Whether steps are divided by the size of gradients, so that noise makes them shorter.
    normalizes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        check_learning_rate("learning_rate", self.learning_rate)
        if self.epochs is not None:
            check_count("epochs", self.epochs)
        object.__setattr__(self, "factors", _check_factors("factors", self.factors))

    @property
    def budget(self) -> int | None:
        return self.epochs

    @property
    @abstractmethod
    def code(self) -> int:
        """The update kernel, one of the constants of `fastmlp.kernels.codes`."""

    @property
    @abstractmethod
    def n_slots(self) -> int:
        """Number of state vectors of the size of theta that the update keeps."""

    @property
    def own_schedules(self) -> dict[str, Schedule]:
        """Those of its hyperparameters that are schedules."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Schedule)}

    def with_steps(self, factor: float) -> Self:
        """The same with `factor` times all learning rates, but with weight decay as it was."""
        factors = self.factors or {}
        changed: dict[str, Any] = {
            "factors": {kind: factor * _factor_of(kind, factors) for kind in codes.KINDS}
        }
        if hasattr(self, "decay_factors"):
            decays = self.decay_factors or {}
            changed["decay_factors"] = {
                kind: _factor_of(kind, decays) / factor for kind in codes.KINDS
            }
        return replace(self, **changed)

    @property
    def decays(self) -> bool:
        """Whether weights decay, but not biases, in some update."""
        decay = getattr(self, "weight_decay", 0.0)
        return isinstance(decay, Schedule) or decay > 0

    def kinds(self) -> tuple[np.ndarray, dict[str, int]]:
        """Factors of the learning rate and of weight decay, and which of them each kind has.

        Returns
        -------
        factors : ndarray of float64, (2, n)
            Of the learning rate, and of the weight decay; the first of both is 1.
        rows : dict of str to int
            For each of `codes.KINDS` the column of its factors.
        """
        rates, decays = self.factors or {}, getattr(self, "decay_factors", None) or {}
        if not (rates or decays):
            return np.ones((2, 1)), dict.fromkeys(codes.KINDS, 0)
        pairs = {kind: (_factor_of(kind, rates), _factor_of(kind, decays)) for kind in codes.KINDS}
        columns = [(1.0, 1.0)]
        columns += [pair for pair in dict.fromkeys(pairs.values()) if pair != (1.0, 1.0)]
        return np.array(columns).T, {kind: columns.index(pair) for kind, pair in pairs.items()}

    def hyperparameters(self) -> np.ndarray:
        """What the update kernel needs to know.

        Returns
        -------
        ndarray of float64, shape (len(codes.HYPERPARAMETERS),)
            In the order of `codes.HYPERPARAMETERS`, 0 for those the optimizer does not have.
        """
        return np.array(
            [getattr(self, name, 0.0) for name in codes.HYPERPARAMETERS], dtype=np.float64
        )

    def learning_rates(
        self,
        first_update: int,
        n_updates: int,
        updates_per_epoch: int,
        all_updates: int | None = None,
    ) -> np.ndarray:
        """Learning rates of consecutive updates, float64 (n_updates,).

        The arguments are those of `fastmlp.schedules.learning_rates`.
        """
        return schedules.learning_rates(
            self.learning_rate, first_update, n_updates, updates_per_epoch, all_updates
        )

    def rates(
        self,
        first_update: int,
        n_updates: int,
        updates_per_epoch: int,
        all_updates: int | None = None,
        dropout: float | Schedule = 1.0,
    ) -> np.ndarray:
        """What may be another in each of consecutive updates, float64 (n_updates, N_RATES).

        The columns are `codes.RATE` and so on; that of dropout is the factor of every probability.
        The first arguments are those of `fastmlp.schedules.learning_rates`.
        """
        times = first_update, n_updates, updates_per_epoch, all_updates
        table = np.empty((n_updates, codes.N_RATES))
        for column, name, value in (
            (codes.RATE, "learning_rate", self.learning_rate),
            (codes.DECAY, "weight_decay", getattr(self, "weight_decay", 0.0)),
            (codes.DROPOUT, "dropout", dropout),
        ):
            if isinstance(value, Schedule):
                table[:, column] = schedules.over_updates(name, value, *times)
            else:
                table[:, column] = value
        return table


@dataclass(frozen=True)
class SGD(Stochastic):
    """Stochastic gradient descent, with momentum if wanted.

    v <- momentum * v + g, theta <- theta - lr * v; with nesterov instead
    theta <- theta - lr * (g + momentum * v), after the same update of v.

    Momentum: Polyak, USSR Computational Mathematics and Mathematical Physics 4(5):1-17 (1964).
    Nesterov's variant in the form of Sutskever et al., "On the importance of initialization and
    momentum in deep learning", ICML 2013, with the look-ahead point as theta.

    torch and optax do the same. scikit-learn and Keras keep lr inside v, which makes a difference
    only when the learning rate changes during training.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        Positive. The default is Keras's, torch has 0.001; no value suits every problem.
    momentum : float, default 0.0
        In [0, 1). The default is plain gradient descent, as in torch, optax and Keras;
        scikit-learn has 0.9, with nesterov.
    nesterov : bool, default False
        Whether to use Nesterov's variant. Needs momentum above 0.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.SGD(0.01, momentum=0.9), epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    code: ClassVar[int] = codes.SGD
    normalizes: ClassVar[bool] = False

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction("momentum", self.momentum)
        check_flag("nesterov", self.nesterov)
        if self.nesterov and self.momentum == 0:
            raise ValueError(f"nesterov needs a momentum above 0, got momentum={self.momentum!r}")

    @property
    def n_slots(self) -> int:
        return 1 if self.momentum > 0 else 0


@dataclass(frozen=True)
class AdaGrad(Stochastic):
    """AdaGrad: each parameter's step is divided by the root of its summed squared gradients.

    s <- s + g^2, theta <- theta - lr * g / (sqrt(s) + epsilon).

    Duchi, Hazan & Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", Journal of Machine Learning Research 12:2121-2159 (2011).

    torch does the same, with the same defaults. Keras and optax start s at 0.1 and add
    epsilon 1e-7 under the root, so that their first steps are shorter.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.01
        Positive: the size of each parameter's first step.
    epsilon : float, default 1e-10
        Positive. Keeps the quotient finite where the gradient has always been 0; small enough not
        to shorten any other step.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.AdaGrad(0.03), epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    code: ClassVar[int] = codes.ADAGRAD

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    epsilon: float = 1e-10

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("epsilon", self.epsilon)

    @property
    def n_slots(self) -> int:
        return 1


@dataclass(frozen=True)
class RMSProp(Stochastic):
    """RMSProp: each parameter's step is divided by a running root mean square of its gradients.

    s <- rho * s + (1 - rho) * g^2, theta <- theta - lr * g / (sqrt(s) + epsilon); with momentum
    instead v <- momentum * v + g / (sqrt(s) + epsilon), theta <- theta - lr * v.

    Tieleman & Hinton, "Neural networks for machine learning", lecture 6.5 (2012).

    torch does the same. Keras and optax have rho 0.9 and add epsilon under the root.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Positive. The default is Keras's; torch has 0.01.
    rho : float, default 0.99
        In [0, 1): how much of the mean square is kept. The default, torch's, averages over about
        1 / (1 - rho) = 100 updates.
    epsilon : float, default 1e-8
        Positive. Keeps the quotient finite where the gradient has always been 0.
    momentum : float, default 0.0
        In [0, 1).

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.RMSProp(), epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    code: ClassVar[int] = codes.RMSPROP

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction("rho", self.rho)
        check_positive("epsilon", self.epsilon)
        _check_fraction("momentum", self.momentum)

    @property
    def n_slots(self) -> int:
        return 2 if self.momentum > 0 else 1


@dataclass(frozen=True)
class Adam(Stochastic):
    """Adam: momentum and RMSProp together, both corrected for their start at 0.

    m <- beta_1 * m + (1 - beta_1) * g, s <- beta_2 * s + (1 - beta_2) * g^2,
    theta <- theta - lr * m_hat / (sqrt(s_hat) + epsilon)
    with m_hat = m / (1 - beta_1^t) and s_hat = s / (1 - beta_2^t).

    Algorithm 1 of Kingma & Ba, "Adam: a method for stochastic optimization", arXiv:1412.6980.

    torch and optax do the same. scikit-learn and Keras take the more efficient form that the paper
    gives in section 2, with epsilon added before the correction: the two differ in the first
    updates, unless epsilon is negligible. Keras has epsilon 1e-7.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        Positive: roughly the largest change of a parameter in one update.
    beta_1 : float, default 0.9
        In [0, 1): how much of the mean gradient is kept.
    beta_2 : float, default 0.999
        In [0, 1): how much of the mean squared gradient is kept.
    epsilon : float, default 1e-8
        Positive. Keeps the quotient finite where the gradient has always been 0.
    amsgrad : bool, default False
        Whether to divide by the root of the largest s so far, instead of s, so that no step size
        ever grows: Reddi, Kale & Kumar, "On the convergence of Adam and beyond", ICLR 2018. As in
        torch the correction for the start is that of the latest s, and comes after the maximum;
        optax takes the maximum of corrected ones, the paper and Keras have no correction.

    Notes
    -----
    All defaults are those of the first paper.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.Adam(3e-3), epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    learning_rate: float | Schedule = 0.001
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    amsgrad: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction("beta_1", self.beta_1)
        _check_fraction("beta_2", self.beta_2)
        check_positive("epsilon", self.epsilon)
        check_flag("amsgrad", self.amsgrad)

    @property
    def code(self) -> int:
        return codes.AMSGRAD if self.amsgrad else codes.ADAM

    @property
    def n_slots(self) -> int:
        return 3 if self.amsgrad else 2


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: the weights shrink apart from the gradient.

    W <- W - lr * weight_decay * W for the weights, not for the biases, then the update of `Adam`.

    Algorithm 2 of Loshchilov & Hutter, "Decoupled weight decay regularization", arXiv:1711.05101.
    As in torch, Keras and optax the decay is multiplied by the whole of lr, of which the paper
    takes only the schedule without its constant.

    torch decays the biases, too; optax and Keras do so unless told otherwise, and their
    weight_decay is by default 1e-4 and 0.004. The decay is no part of the objective, unlike the
    penalty l2 of `MLP.fit`, which reaches Adam through the gradient and is rescaled with it.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.001
        As for `Adam`.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        As for `Adam`.
    amsgrad : bool, default False
        As for `Adam`.
    weight_decay : float or Schedule, default 0.01
        At least 0, or a schedule of it, such as ``FlatCosine(0.02)``, whose values are multiplied
        by the lr of the same update. The default is torch's.
    decay_factors : mapping of str to float, or None, default None
        Factors of the weight decay by kind of parameters, as `factors` are of lr. Both multiply:
        with ``factors={"weights": 0.1}`` alone weights decay by a tenth, and ``decay_factors=
        {"weights": 10}`` makes up for that.

    Examples
    --------
    With a decay of weights, a learning rate that falls, and a smaller one for biases:

    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> schedule = fastmlp.LinearDecay(3e-3, final=3e-4, until=20)
    >>> optimizer = fastmlp.AdamW(schedule, weight_decay=0.1, factors={"bias": 0.5})
    >>> result = net.fit(X, y, optimizer=optimizer, epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    _: KW_ONLY
    weight_decay: float | Schedule = 0.01
    decay_factors: Mapping[str, float] | None = field(default=None, hash=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        factors = _check_factors("decay_factors", self.decay_factors)
        object.__setattr__(self, "decay_factors", factors)
        if not isinstance(self.weight_decay, Schedule):
            check_number(
                "weight_decay",
                self.weight_decay,
                "a number of at least 0 or a Schedule",
                lambda x: x >= 0,
            )


@dataclass(frozen=True)
class NAdam(Stochastic):
    """Adam with Nesterov's momentum, which is warmed up.

    m <- beta_1 * m + (1 - beta_1) * g, s <- beta_2 * s + (1 - beta_2) * g^2,
    theta <- theta - lr * m_hat / (sqrt(s_hat) + epsilon) with s_hat = s / (1 - beta_2^t) and
    m_hat = mu_(t+1) * m / (1 - mu_1 ... mu_(t+1)) + (1 - mu_t) * g / (1 - mu_1 ... mu_t), where
    mu_t = beta_1 * (1 - 0.96^(t * momentum_decay) / 2).

    Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop track.

    torch does the same. Keras has the momentum_decay fixed at 4e-3; optax has no warm-up of mu.

    Parameters
    ----------
    learning_rate : float or Schedule, default 0.002
        Positive. The default is torch's; Keras has 0.001.
    beta_1 : float, default 0.9
        In [0, 1): how much of the mean gradient is kept, and what mu tends to.
    beta_2 : float, default 0.999
        In [0, 1): how much of the mean squared gradient is kept.
    epsilon : float, default 1e-8
        Positive. Keeps the quotient finite where the gradient has always been 0.
    momentum_decay : float, default 4e-3
        At least 0. How fast mu rises, from about beta_1 / 2 on.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    >>> result = net.fit(X, y, optimizer=fastmlp.NAdam(3e-3), epochs=20, seed=0)
    >>> result.loss < 0.5
    True
    """

    code: ClassVar[int] = codes.NADAM

    learning_rate: float | Schedule = 0.002
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    momentum_decay: float = 4e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction("beta_1", self.beta_1)
        _check_fraction("beta_2", self.beta_2)
        check_positive("epsilon", self.epsilon)
        check_not_negative("momentum_decay", self.momentum_decay)

    @property
    def n_slots(self) -> int:
        return 2


BY_NAME: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adagrad": AdaGrad,
    "rmsprop": RMSProp,
    "adam": Adam,
    "adamw": AdamW,
    "nadam": NAdam,
}


def parse(text: str, table: Mapping[str, Callable[..., Optimizer]]) -> Optimizer:
    """An optimizer from its written form, as given on a command line.

    The form is that of a Python call with keywords, "adam" or "adam(learning_rate=3e-3)", whose
    values are literals. A value may also be a schedule by its name in `schedules.BY_NAME`:
    "sgd(learning_rate=step(initial=0.1, factor=0.5, every=10))". Nothing is evaluated as code.

    Parameters
    ----------
    text : str
        The written form.
    table : mapping of str to class
        The optimizers to choose from, such as `BY_NAME`.

    Returns
    -------
    Optimizer

    Raises
    ------
    TypeError, ValueError
        If the text has another form, names an optimizer, schedule or parameter that does not
        exist, lacks a required parameter, or gives one a value that it does not allow.
    """
    return construct(expression(text, "optimizer"), "optimizer", table)


def parse_stages(text: str, table: Mapping[str, Callable[..., Optimizer]]) -> list[Optimizer]:
    """Optimizers that go on from one another, written with + between: "adam(epochs=20)+lbfgs".

    Each is written, and refused, as by `parse`.
    """
    stages = []
    rest = expression(text, "optimizer")
    while isinstance(rest, ast.BinOp) and isinstance(rest.op, ast.Add):
        stages.append(rest.right)
        rest = rest.left
    return [construct(node, "optimizer", table) for node in [rest, *reversed(stages)]]
