"""Model files: safetensors, with the architecture as JSON in the metadata. Never pickle."""

import json

import numpy as np

from fastmlp.writing import check_path, check_writable, is_readable, writing

FORMAT = "fastmlp-1"

# What safetensors allows itself.
_LONGEST_HEADER = 100_000_000


def save(net, path, described=None):
    """Write `net` to `path`, in one move: see `MLP.save`.

    `described` are further texts by name, for the file's metadata.
    """
    check_writable("path", path)
    tensors = named_tensors(net)
    metadata = {"format": FORMAT, "architecture": json.dumps(net.architecture())}
    if net.feature_names is not None:
        metadata["feature_names"] = json.dumps(net.feature_names)
    write_tensors("path", path, tensors, metadata | (described or {}))


def named_tensors(net):
    """All that a network has learned, by names for files."""
    named = dict(net.parameters) | net.statistics
    return {_tensor_name(name): array for name, array in named.items()}


def assemble(kind, architecture, tensors):
    """A network of the class `kind`, with tensors that `named_tensors` has given.

    Raises
    ------
    KeyError, TypeError, ValueError, OverflowError
        If the architecture is none, or the tensors do not go with it.
    """
    parameters, statistics = kind.shapes_of(architecture)
    shapes = parameters | statistics
    wanted = {_tensor_name(name): shape for name, shape in shapes.items()}
    found = {name: tensor.shape for name, tensor in tensors.items()}
    if found != wanted:
        raise ValueError(f"its tensors are {found}, its layers need {wanted}")
    if any(tensor.dtype != architecture["dtype"] for tensor in tensors.values()):
        raise ValueError(f"its tensors are not all {architecture['dtype']}")
    theta, measured = (
        np.concatenate([tensors[_tensor_name(name)].ravel() for name in names]) if names else None
        for names in (parameters, statistics)
    )
    return kind.from_architecture(architecture, theta, measured)


def _tensor_name(name):
    """Name in a file of what a network calls by another: "weights.0" of "weights[0]"."""
    return name.replace("[", ".").replace("]", "")


def write_tensors(name, path, tensors, metadata):
    """Write a safetensors file; `name` is what the argument is called."""
    from safetensors import numpy as safetensors

    content = safetensors.save(tensors, metadata)
    with writing(name, path) as file:
        file.write(content)


def load(path, kind):
    """Read a network of the class `kind` that `save` wrote: see `MLP.load`."""
    net, _ = load_described(path, kind)
    return net


def load_described(path, kind):
    """Read, once, a network of the class `kind` and the texts by name of its file."""
    check_path(path)
    shown = str(path)
    if not is_readable(path):
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
        net = assemble(kind, json.loads(metadata["architecture"]), tensors)
        net.feature_names = json.loads(metadata.get("feature_names", "null"))
        return net, metadata
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"path must be a file that MLP.save wrote, {shown!r} is not: {error}"
        ) from None


def read_tensors(path):
    """All tensors and texts of a safetensors file, by name; a ValueError if it is not whole."""
    from safetensors import SafetensorError
    from safetensors import numpy as safetensors

    with open(path, "rb") as file:
        # A large file of something else is refused before all of it is read.
        length = file.read(8)
        n_bytes = int.from_bytes(length, "little")
        if len(length) < 8 or n_bytes > _LONGEST_HEADER:
            raise ValueError("it does not begin with the length of a header")
        header = file.read(n_bytes)
        content = b"".join((length, header, file.read()))
    try:
        tensors = safetensors.load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    except KeyError as error:
        raise ValueError(f"it has tensors of type {error}") from None
    return tensors, json.loads(header).get("__metadata__", {})
