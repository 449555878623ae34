"""Estimators to and from scikit-learn's own, and to and from model files."""

import inspect
import json
from dataclasses import fields, is_dataclass

import numpy as np
from scipy import sparse
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from fastmlp import schedules
from fastmlp.files import load_described, save
from fastmlp.inputs import Categorical, Numeric
from fastmlp.mlp import MLP
from fastmlp.optimizers import Optimizer
from fastmlp.result import Trace
from fastmlp.scaling import Scaling
from fastmlp.schedules import Schedule
from fastmlp.sklearn.labels import from_plain, to_plain
from fastmlp.sources.windowed import Windowed
from fastmlp.training import OPTIMIZERS

_THEIR_ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
_THEIR_SOLVERS = ("adam", "sgd", "lbfgs")
_THEIR_LOSSES = ("log_loss", "squared_error", "poisson")
_THEIR_OUTPUTS = ("identity", "logistic", "softmax", "exp")

# Parameters that are objects, of numbers and names.
_OBJECTS = (Optimizer, Schedule, Numeric, Categorical, Windowed)

# Fitted attributes that are plain numbers, or lists of them.
_PLAIN = (
    "n_features_in_",
    "n_outputs_",
    "n_layers_",
    "out_activation_",
    "n_iter_",
    "t_",
    "loss_",
    "best_loss_",
    "loss_curve_",
    "validation_scores_",
    "best_validation_score_",
    "learning_rate_",
    "_no_improvement_count",
)


def from_sklearn(kind, theirs):
    """See `BaseMLP.from_sklearn`."""
    wanted = getattr(neural_network, kind.__sklearn_counterpart__)
    if not isinstance(theirs, wanted):
        raise TypeError(
            f"estimator must be a sklearn.neural_network.{wanted.__name__}, got {theirs!r}"
        )
    check_is_fitted(theirs)
    names = set(inspect.signature(kind.__init__).parameters)
    given = {name: value for name, value in theirs.get_params().items() if name in names}
    ours = kind(**given)
    for name in (*_PLAIN, "feature_names_in_", "classes_"):
        if hasattr(theirs, name):
            value = getattr(theirs, name)
            setattr(ours, name, list(value) if isinstance(value, list) else value)
    if hasattr(theirs, "classes_"):
        binarizer = theirs._label_binarizer
        indicator = None
        if binarizer.y_type_.startswith("multilabel"):
            container = "csr_matrix" if binarizer.sparse_input_ else "ndarray"
            indicator = _empty_indicator(container, int, len(theirs.classes_))
        ours._indicator = indicator
    ours.coefs_ = list(theirs.coefs_)
    ours.intercepts_ = list(theirs.intercepts_)
    ours._assign(ours._current_network())
    ours._prepare_to_go_on()
    return ours


def to_sklearn(ours):
    """See `BaseMLP.to_sklearn`."""
    check_is_fitted(ours)
    net = ours._current_network()
    for name, value in net._pieces.described().items():
        raise ValueError(f"{name} must not be given for scikit-learn, which lacks it, got {value}")
    kind = getattr(neural_network, ours.__sklearn_counterpart__)
    hidden = {"logistic" if name == "sigmoid" else name for name in net.activations[:-1]}
    activation = hidden.pop() if len(hidden) == 1 else "identity" if not hidden else None
    for what, given, allowed in (
        ("activation", activation or ours.activation, _THEIR_ACTIVATIONS),
        ("loss", ours.loss, _THEIR_LOSSES),
        ("out_activation_", ours.out_activation_, _THEIR_OUTPUTS),
    ):
        if given not in allowed:
            raise ValueError(
                f"{what} must be one of {', '.join(allowed)} for scikit-learn, got {given!r}"
            )
    names = set(inspect.signature(kind.__init__).parameters)
    params = {name: value for name, value in ours.get_params().items() if name in names}
    params["activation"] = activation
    if params["solver"] not in _THEIR_SOLVERS:
        params["solver"] = "adam"
    params["shuffle"] = bool(params["shuffle"])
    if isinstance(params["learning_rate"], Schedule):
        params["learning_rate"] = "constant"
    theirs = kind(**params)
    for name in (*_PLAIN, "feature_names_in_", "classes_"):
        if hasattr(ours, name):
            value = getattr(ours, name)
            setattr(theirs, name, list(value) if isinstance(value, list) else value)
    if hasattr(ours, "classes_"):
        labels = ours.classes_
        if ours._is_multilabel():
            labels = np.eye(len(labels), dtype=int)
            labels = sparse.csr_array(labels) if sparse.issparse(ours._indicator) else labels
        theirs._label_binarizer = LabelBinarizer().fit(labels)
    theirs.coefs_ = [weights.copy() for weights in net.weights]
    theirs.intercepts_ = [biases.copy() for biases in net.biases]
    theirs._random_state = check_random_state(theirs.random_state)
    return theirs


def save_estimator(estimator, path):
    """See `BaseMLP.save`."""
    check_is_fitted(estimator)
    params = {
        name: encode(name, value)
        for name, value in estimator.get_params(deep=False).items()
        if name != "callbacks"
    }
    if not isinstance(params["random_state"], int | None):
        params["random_state"] = None
    fitted = {
        name: _plain(estimator.__dict__[name]) for name in _PLAIN if name in estimator.__dict__
    }
    if hasattr(estimator, "feature_names_in_"):
        fitted["feature_names_in_"] = list(estimator.feature_names_in_)
    if hasattr(estimator, "classes_"):
        fitted["classes_"] = to_plain(estimator.classes_)
        fitted["indicator"] = None
        if estimator._is_multilabel():
            indicator = estimator._indicator
            fitted["indicator"] = [type(indicator).__name__, indicator.dtype.str]
    scaling = estimator._scaling
    if scaling is not None:
        fitted["scaling"] = [getattr(scaling, f.name).tolist() for f in fields(scaling)]
    if hasattr(estimator, "_shuffle"):
        name, keys, *counts = estimator._split_state
        fitted["split"] = [name, keys.tolist(), *counts]
        fitted["shuffle"] = estimator._shuffle
    if estimator.trace_ is not None:
        fitted["trace"] = estimator.trace_.as_array().tolist()
    described = {"class": type(estimator).__name__, "params": params, "fitted": fitted}
    save(estimator._current_network(), path, {"estimator": json.dumps(described)})


def load_estimator(kind, path):
    """See `BaseMLP.load`."""
    net, texts = load_described(path, MLP)
    text = texts.get("estimator")
    try:
        described = json.loads(text or "{}")
        if described.get("class") != kind.__name__:
            raise ValueError(f"it holds {described.get('class', 'a network alone')!r}")
        estimator = kind(**{n: decode(value) for n, value in described["params"].items()})
        fitted = described["fitted"]
        for name in _PLAIN:
            if name in fitted:
                setattr(estimator, name, fitted[name])
        if "feature_names_in_" in fitted:
            estimator.feature_names_in_ = np.array(fitted["feature_names_in_"], dtype=object)
        if "classes_" in fitted:
            estimator.classes_ = from_plain(*fitted["classes_"])
            # Older files only say whether there are several labels to a row.
            older = ["ndarray", "<i8"] if fitted.get("is_multilabel") else None
            held = fitted.get("indicator", older)
            if held is not None:
                container, dtype = held
                n_labels = len(estimator.classes_)
                estimator._indicator = _empty_indicator(container, dtype, n_labels)
        if "trace" in fitted:
            estimator.trace_ = Trace.from_array(fitted["trace"])
        if "scaling" in fitted:
            estimator._scaling = Scaling(*(np.array(one) for one in fitted["scaling"]))
        if "shuffle" in fitted:
            split, shuffle = np.random.RandomState(), np.random.default_rng().bit_generator
            split.set_state(tuple(fitted["split"]))
            shuffle.state = fitted["shuffle"]
            estimator._split_state, estimator._shuffle = split.get_state(), shuffle.state
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"path must be a file that {kind.__name__}.save wrote, {str(path)!r} is not: {error}"
        ) from None
    estimator._assign(net)
    estimator._prepare_to_go_on()
    return estimator


def _empty_indicator(container, dtype, n_labels):
    """What an estimator keeps of multilabel targets: no rows of them."""
    empty = np.empty((0, n_labels), dtype)
    kinds = {"csr_array": sparse.csr_array, "csr_matrix": sparse.csr_matrix}
    return kinds[container](empty) if container != "ndarray" else empty


def _plain(value):
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value.item() if isinstance(value, np.generic) else value


def encode(name, value):
    """A parameter as plain values, fit for JSON."""
    if isinstance(value, _OBJECTS) and is_dataclass(value):
        given = {f.name: encode(f.name, getattr(value, f.name)) for f in fields(value)}
        return {"object": type(value).__name__, "fields": given}
    if isinstance(value, np.ndarray | np.generic):
        return encode(name, value.tolist())
    if isinstance(value, list | tuple):
        encoded = [encode(name, one) for one in value]
        return {"tuple": encoded} if isinstance(value, tuple) else encoded
    if isinstance(value, dict):
        return {"pairs": [[encode(name, key), encode(name, one)] for key, one in value.items()]}
    if isinstance(value, bool | int | float | str | None):
        return value
    if name == "random_state":
        return None
    raise TypeError(f"{name} must be a name, a number or an optimizer to be saved, got {value!r}")


def decode(value):
    """Undo `encode`."""
    if isinstance(value, list):
        return [decode(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "tuple" in value:
        return tuple(decode(one) for one in value["tuple"])
    if "pairs" in value:
        return {decode(key): decode(one) for key, one in value["pairs"]}
    ours = *OPTIMIZERS.values(), *schedules.BY_NAME.values(), Numeric, Categorical, Windowed
    kinds = {kind.__name__: kind for kind in ours}
    return kinds[value["object"]](**{n: decode(one) for n, one in value["fields"].items()})
