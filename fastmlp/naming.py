"""Names that nobody knows here: the nearest one that is known, also by what others call things."""

import difflib
import functools
import inspect
from collections.abc import Callable, Collection
from typing import Any, ParamSpec, Self, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")

# How alike two names have to be, from 0 to 1: difflib's own measure and default.
_ALIKE = 0.6

# What other libraries call things, in lower case and with "_" for "-" and blanks: scikit-learn,
# Keras, PyTorch, JAX, MATLAB. Of several names the first that is known counts.
_ACTIVATIONS = {
    "swish": ("silu",),
    "linear": ("identity",),
    "none": ("identity",),
    "purelin": ("identity",),
    "logistic": ("sigmoid",),
    "logsig": ("sigmoid",),
    "tansig": ("tanh",),
    "poslin": ("relu",),
    "lrelu": ("leaky_relu",),
    "exp": ("exponential",),
    "log_softmax": ("softmax",),
}
_LOSSES = {
    "mse": ("squared_error",),
    "mse_loss": ("squared_error",),
    "mean_squared_error": ("squared_error",),
    "l2": ("squared_error",),
    "rmse": ("squared_error",),
    "mae": ("absolute_error",),
    "mean_absolute_error": ("absolute_error",),
    "l1": ("absolute_error",),
    "l1_loss": ("absolute_error",),
    "smooth_l1": ("huber",),
    "smooth_l1_loss": ("huber",),
    "bce": ("binary_cross_entropy",),
    "bce_loss": ("binary_cross_entropy",),
    "binary_crossentropy": ("binary_cross_entropy",),
    "ce": ("cross_entropy",),
    "log_loss": ("cross_entropy",),
    "nll": ("cross_entropy",),
    "nll_loss": ("cross_entropy",),
    "softmax_cross_entropy": ("cross_entropy",),
    "categorical_crossentropy": ("cross_entropy",),
    "sparse_categorical_crossentropy": ("cross_entropy",),
    "label_smoothing": ("cross_entropy",),
    "pinball": ("quantile",),
    "pinball_loss": ("quantile",),
    "squared_hinge": ("hinge",),
}
_OPTIMIZERS = {
    "momentum": ("sgd(momentum=0.9)",),
    "nesterov": ("sgd(momentum=0.9, nesterov=True)",),
    "amsgrad": ("adam(amsgrad=True)",),
    "gd": ("gradient_descent",),
    "traingd": ("gradient_descent",),
    "steepest_descent": ("gradient_descent",),
    "batch_gradient_descent": ("gradient_descent",),
    "cg": ("conjugate_gradient",),
    "traincgf": ("conjugate_gradient",),
    "l_bfgs": ("lbfgs",),
    "l_bfgs_b": ("lbfgs",),
    "trainbfg": ("bfgs",),
    "lm": ("levenberg_marquardt",),
    "trainlm": ("levenberg_marquardt",),
}
_ELSEWHERE = {
    "activation": _ACTIVATIONS,
    "output": _ACTIVATIONS,
    "loss": _LOSSES,
    "optimizer": _OPTIMIZERS,
    "solver": _OPTIMIZERS,
    "monitor": {
        "loss": ("objective",),
        "train_loss": ("objective",),
        "val_loss": ("validation_loss",),
        "valid_loss": ("validation_loss",),
        "eval_loss": ("validation_loss",),
        "val_accuracy": ("accuracy",),
        "val_acc": ("accuracy",),
        "acc": ("accuracy",),
        "lr": ("learning_rate",),
        "time": ("seconds",),
    },
}

_EARLY_STOPPING = "callbacks=[EarlyStopping()]"
_RATE_OF_OPTIMIZER = "optimizer=Adam(learning_rate=...)"

# The same of arguments. What stands before a "=" has to be known.
_ARGUMENTS = {
    "act": ("activation",),
    "algorithm": ("optimizer", "solver"),
    "alpha": ("l2",),
    "batch": ("batch_size",),
    "batch_norm": ("norm='batch'",),
    "batchnorm": ("norm='batch'",),
    "betas": ("beta_1=..., beta_2=...",),
    "callback": ("callbacks",),
    "class_weight": ("sample_weight",),
    "clipnorm": ("clip_norm",),
    "criterion": ("loss",),
    "decay": ("weight_decay", "l2"),
    "delta": ("min_delta",),
    "dropout_rate": ("dropout",),
    "early_stopping": (_EARLY_STOPPING,),
    "early_stopping_rounds": (f"{_EARLY_STOPPING[:-2]}patience=...)]", "n_iter_no_change"),
    "eps": ("epsilon",),
    "eta": ("learning_rate_init", "learning_rate", _RATE_OF_OPTIMIZER),
    "eval_set": ("validation_data",),
    "file": ("path",),
    "filename": ("path",),
    "filepath": ("path",),
    "final_activation": ("output",),
    "grad_clip": ("clip_norm",),
    "gradient_clip": ("clip_norm",),
    "hidden": ("hidden_layer_sizes", "layer_sizes"),
    "hidden_layer_sizes": ("layer_sizes",),
    "hidden_sizes": ("hidden_layer_sizes", "layer_sizes"),
    "initializer": ("init",),
    "iterations": ("epochs", "max_iterations", "max_iter"),
    "kernel_initializer": ("init",),
    "l2_regularization": ("l2", "alpha"),
    "layer_norm": ("norm='layer'",),
    "layers": ("layer_sizes", "hidden_layer_sizes"),
    "learning_rate": ("learning_rate_init", _RATE_OF_OPTIMIZER),
    "learning_rate_init": ("learning_rate", _RATE_OF_OPTIMIZER),
    "loss_fn": ("loss",),
    "loss_function": ("loss",),
    "lr": ("learning_rate_init", "learning_rate", _RATE_OF_OPTIMIZER),
    "max_epochs": ("epochs", "max_iter"),
    "max_grad_norm": ("clip_norm",),
    "max_iter": ("epochs", "max_iterations"),
    "max_time": ("time_limit",),
    "method": ("optimizer", "solver"),
    "metrics": ("callbacks=[Metrics(...)]", "scoring"),
    "momentum": ("optimizer=SGD(momentum=...)",),
    "n_epochs": ("epochs", "max_iter"),
    "n_iter": ("epochs", "max_iterations", "max_iter"),
    "n_iter_no_change": ("patience", f"{_EARLY_STOPPING[:-2]}patience=...)]"),
    "n_jobs": ("n_threads",),
    "names": ("feature_names",),
    "nb_epoch": ("epochs", "max_iter"),
    "nonlinearity": ("activation",),
    "num_epochs": ("epochs", "max_iter"),
    "num_threads": ("n_threads",),
    "objective": ("loss",),
    "output_activation": ("output",),
    "patience": ("n_iter_no_change", f"{_EARLY_STOPPING[:-2]}patience=...)]"),
    "random_seed": ("seed", "random_state", "seeds"),
    "random_state": ("seed", "seeds"),
    "restore_best_weights": ("restore_best",),
    "rho": ("decay",),
    "save_best_only": ("best_only",),
    "scoring": ("callbacks=[Metrics(...)]",),
    "seed": ("seeds", "random_state"),
    "seeds": ("seed",),
    "shape": ("layer_sizes",),
    "sizes": ("layer_sizes", "hidden_layer_sizes"),
    "solver": ("optimizer",),
    "timeout": ("time_limit",),
    "tol": ("min_delta",),
    "units": ("layer_sizes", "hidden_layer_sizes"),
    "val_data": ("validation_data",),
    "validation_fraction": ("validation_data",),
    "validation_split": ("validation_data", "validation_fraction"),
    "verbose": ("progress",),
    "wd": ("weight_decay", "l2"),
    "weight_decay": ("alpha", "l2"),
    "weights": ("sample_weight",),
    "workers": ("n_threads",),
}


def did_you_mean(argument: str, value: str, known: Collection[str]) -> str:
    """What to add to a message about a value that is not among the `known` ones, perhaps nothing.

    Parameters
    ----------
    argument : str
        What the argument is called, "norm[1]" like "norm".
    value : str
    known : collection of str
    """
    elsewhere = _ELSEWHERE.get(argument.partition("[")[0], {})
    found = _nearest(value, known, elsewhere)
    return "" if found is None else f"; did you mean {found!r}?"


def _nearest(value, known, elsewhere):
    """The known name that a value may stand for, or None."""
    plain = value.strip().lower().replace("-", "_").replace(" ", "_")
    if plain in known:
        return plain
    for name in elsewhere.get(plain, ()):
        if name.partition("(")[0].partition("=")[0] in known:
            return name
    by_plain = {name.lower(): name for name in known}
    found = difflib.get_close_matches(plain, by_plain, 1, _ALIKE)
    return by_plain[found[0]] if found else None


def unknown_argument(what: str, name: str, known: Collection[str]) -> TypeError:
    """The error of an argument that `what`, such as "fit", does not have."""
    found = _nearest(name, known, _ARGUMENTS)
    hint = "" if found is None else f"; did you mean {found}?"
    return TypeError(f"{what} has the parameters {', '.join(known)}, got {name!r}{hint}")


def names_arguments(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Have a function say what an argument that it does not have may stand for."""
    known = dict.fromkeys(name for name in inspect.signature(function).parameters if name != "self")

    @functools.wraps(function)
    def call(*args: _P.args, **named: _P.kwargs) -> _T:
        if not named.keys() <= known.keys():
            raise _first_unknown(function.__name__, named, known)
        return function(*args, **named)

    return call


class _OfConstructor:
    """The signature of a class, as that of its ``__init__``; its objects have none of it."""

    def __get__(self, instance: object, cls: type) -> inspect.Signature:
        if instance is not None:
            raise AttributeError(f"{cls.__name__!r} object has no attribute '__signature__'")
        signature = inspect.signature(cls.__init__)  # type: ignore[misc]
        return signature.replace(parameters=list(signature.parameters.values())[1:])


class NamesArguments:
    """A class whose constructor says what an argument that it does not have may stand for."""

    # Before Python 3.11.4 `inspect` would take the signature of `__new__`, also of subclasses.
    __signature__ = _OfConstructor()

    def __new__(cls, *args: Any, **named: Any) -> Self:
        if named:
            known = _arguments_of(cls.__init__)  # type: ignore[misc]
            if known is not None and not named.keys() <= known.keys():
                raise _first_unknown(cls.__name__, named, known)
        return super().__new__(cls)


@functools.lru_cache(maxsize=256)
def _arguments_of(init):
    """Names of a constructor's arguments, None if it takes any."""
    parameters = inspect.signature(init).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return None
    return dict.fromkeys(one.name for one in list(parameters)[1:])


def _first_unknown(what, named, known):
    name = next(name for name in named if name not in known)
    return unknown_argument(what, name, known)
