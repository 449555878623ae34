"""Files of the estimators for tables: safetensors, with all else as JSON. Never pickle."""

import json

import numpy as np

from fastmlp.files import assemble, named_tensors, read_tensors, write_tensors
from fastmlp.mlp import MLP
from fastmlp.sklearn.convert import decode, encode
from fastmlp.sklearn.labels import from_plain, to_plain
from fastmlp.tabular.encoding import Encoding
from fastmlp.tabular.ensemble import Ensemble
from fastmlp.tabular.targets import Classes, Quantiles, Values
from fastmlp.writing import check_path, check_writable, is_readable

FORMAT = "fastmlp-table-1"

# Fitted attributes that are plain values.
_PLAIN = ("n_features_in_", "oof_score_", "history_", "scoring_")
_PLAIN_OF_CLASSES = ("temperature_", "_reliability")


def save_tabular(estimator, path, argument="path", texts=None):
    """See `BaseTabular.save`; the file may hold further `texts` by name, which `load` passes over.

    Messages call the path what `argument` says.
    """
    check_writable(argument, path)
    params = {name: encode(name, value) for name, value in estimator.get_params(deep=False).items()}
    ensemble = estimator._ensemble
    fitted = {
        name: getattr(estimator, name)
        for name in (*_PLAIN, *_PLAIN_OF_CLASSES)
        if hasattr(estimator, name)
    }
    if hasattr(estimator, "classes_"):
        fitted["classes_"] = to_plain(estimator.classes_)
    else:
        fitted["scaling"] = list(map(float, estimator._task.scaling))
    described = {
        "class": type(estimator).__name__,
        "params": params,
        "fitted": fitted,
        "columns": estimator._encoding.described(),
        "architectures": [network.architecture() for network in ensemble.networks],
        "shares": ensemble.shares,
    }
    tensors = {
        f"networks.{i}.{name}": tensor
        for i, network in enumerate(ensemble.networks)
        for name, tensor in named_tensors(network).items()
    }
    own = {"format": FORMAT, "estimator": json.dumps(described)}
    write_tensors(argument, path, tensors, own | (texts or {}))


def load_tabular(kind, path):
    """See `BaseTabular.load`."""
    check_path(path)
    shown = str(path)
    if not is_readable(path):
        raise FileNotFoundError(f"path must be a model file, there is none at {shown!r}")
    try:
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != FORMAT:
            raise ValueError(f"its format is {metadata.get('format')!r}, not {FORMAT!r}")
        described = json.loads(metadata["estimator"])
        if described["class"] != kind.__name__:
            raise ValueError(f"it holds {described['class']!r}")
        return _restored(kind, described, tensors)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError(
            f"path must be a file that {kind.__name__}.save wrote, {shown!r} is not: {error}"
        ) from None


def _restored(kind, described, tensors):
    estimator = kind(**{name: decode(value) for name, value in described["params"].items()})
    fitted = described["fitted"]
    for name in (*_PLAIN, *_PLAIN_OF_CLASSES):
        if name in fitted:
            setattr(estimator, name, fitted[name])
    estimator._encoding = Encoding.from_description(described["columns"])
    if estimator._encoding.names is not None:
        estimator.feature_names_in_ = np.array(estimator._encoding.names, object)
    if "classes_" in fitted:
        estimator.classes_ = from_plain(*fitted["classes_"])
        estimator._task = Classes(None, len(estimator.classes_))
    else:
        estimator._task = _values(fitted["scaling"], estimator.quantiles)
    networks = [
        assemble(MLP, architecture, _tensors_of(i, tensors))
        for i, architecture in enumerate(described["architectures"])
    ]
    estimator._ensemble = Ensemble(networks, described["shares"])
    estimator._validation = None
    estimator.networks_ = networks
    estimator.network_weights_ = np.array(described["shares"])
    return estimator


def _values(scaling, levels):
    mean, scale, smallest, largest = scaling
    scaling = mean, np.float64(scale), smallest, largest
    return Values(scaling) if levels is None else Quantiles(scaling, levels)


def _tensors_of(i, tensors):
    start = f"networks.{i}."
    return {
        name.removeprefix(start): one for name, one in tensors.items() if name.startswith(start)
    }
