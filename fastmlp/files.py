"""Model files: safetensors, with the architecture as JSON in the metadata. Never pickle."""

import json
import os
import uuid
from itertools import pairwise
from pathlib import Path

import numpy as np

from fastmlp.network import MLP

FORMAT = "fastmlp-1"


def save(net, path, described=None):
    """Write `net` to `path`, in one move: see `MLP.save`.

    `described` are further texts by name, for the file's metadata.
    """
    check_writable("path", path)
    tensors = {}
    for layer, (weights, biases) in enumerate(zip(net.weights, net.biases, strict=True)):
        tensors[f"weights.{layer}"] = weights
        tensors[f"biases.{layer}"] = biases
    metadata = {"format": FORMAT, "architecture": json.dumps(net.architecture())}
    if net.feature_names is not None:
        metadata["feature_names"] = json.dumps(net.feature_names)
    replace_tensors(Path(path), tensors, metadata | (described or {}))


def replace_tensors(path, tensors, metadata):
    """Write a safetensors file beside `path` and move it there, so that a crash leaves the old."""
    from safetensors.numpy import save_file

    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.unfinished")
    try:
        save_file(tensors, unfinished, metadata)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def load(path):
    """Read a network that `save` wrote: see `MLP.load`."""
    check_path(path)
    shown = str(path)
    if not Path(path).is_file():
        raise FileNotFoundError(f"path must be a model file, there is none at {shown!r}")
    try:
        tensors, metadata = read_tensors(path)
    except ValueError as error:
        raise ValueError(
            f"path must be a whole safetensors file, {shown!r} is not: {error}"
        ) from None
    if metadata.get("format") != FORMAT:
        raise ValueError(
            f"path must be a file that MLP.save wrote, the format of {shown!r} is "
            f"{metadata.get('format')!r}, not {FORMAT!r}"
        )
    try:
        architecture = json.loads(metadata["architecture"])
        sizes = [int(size) for size in architecture["layer_sizes"]]
        wanted: dict[str, tuple[int, ...]] = {}
        for layer, shape in enumerate(pairwise(sizes)):
            wanted[f"weights.{layer}"] = shape
            wanted[f"biases.{layer}"] = shape[1:]
        found = {name: tensor.shape for name, tensor in tensors.items()}
        if found != wanted:
            raise ValueError(f"its tensors are {found}, its layers need {wanted}")
        if any(tensor.dtype != architecture["dtype"] for tensor in tensors.values()):
            raise ValueError(f"its tensors are not all {architecture['dtype']}")
        theta = np.concatenate([tensors[name].ravel() for name in wanted])
        net = MLP.from_architecture(architecture, theta)
        net.feature_names = json.loads(metadata.get("feature_names", "null"))
        return net
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"path must be a file that MLP.save wrote, {shown!r} is not: {error}"
        ) from None


def read_tensors(path):
    """All tensors and texts of a safetensors file, by name; a ValueError if it is not whole."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}, file.metadata() or {}
    except (SafetensorError, OSError, TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def read_metadata(path):
    """The texts by name in a file that `load` has accepted."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return file.metadata()


def check_writable(name, path):
    """Refuse what is no path of a file in an existing folder; `name` is the argument's."""
    check_path(path)
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{name} must be a file, {str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{name} must be in an existing folder, got {str(path)!r}")


def check_path(path):
    """Refuse what is no path."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {path!r}")
