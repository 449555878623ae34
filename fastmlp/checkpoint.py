"""Checkpoints: all that a fit needs to go on exactly, in one safetensors file. Never pickle."""

import json
import time
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fastmlp.custom_losses import CustomLoss
from fastmlp.files import read_tensors, write_tensors
from fastmlp.writing import check_plain, check_writable

FORMAT = "fastmlp-checkpoint-2"

# A file is written again after so many seconds, and after so many times what writing took.
_SECONDS_BETWEEN = 1.0
_WRITING_SHARE = 20

# How mini-batches are formed.
_MINI_BATCHES = ("batch_size", "shuffle", "clip_norm")

# Of an array of more bytes than this a checksum goes by so many stretches of so many bytes.
_MOST_BYTES = 1 << 24
_N_STRETCHES = 64
_STRETCH = 1 << 16

# What may differ when a fit is taken up again: how long it is to go on.
_BUDGETS = ("epochs", "max_iterations")


class Memory:
    """The newest state of a fit, for another to go on from.

    Attributes
    ----------
    saved : dict or None
        The state to go on from, None to begin.
    """

    def __init__(self):
        self.saved: Any = None

    def keep(self, state):
        """Keep a copy of `state`, nested dicts of arrays and plain values.

        A state may be changed in place after it was kept.
        """
        self.saved = _copy(state)

    def write(self):
        """End of the fit."""


class Checkpoint(Memory):
    """The newest state of a fit, in memory and, now and then, in a file.

    Parameters
    ----------
    path : path
        Read if it exists, then replaced in one move, so that a crash leaves a whole file.
    identity : dict
        What the fit is about, fit for JSON: a file about anything else is refused.

    Attributes
    ----------
    saved : dict or None
        The state in the file, None if there is none.

    Raises
    ------
    ValueError
        If the file is torn, or is no checkpoint of this fit. It is left alone.
    """

    def __init__(self, path, identity):
        check_writable("checkpoint", path)
        check_plain("checkpoint", path)
        self._path = Path(path)
        self._identity = identity
        self._newest = None
        self._next_write = time.perf_counter() + _SECONDS_BETWEEN
        self.saved = self._read() if self._path.exists() else None

    def keep(self, state):
        """Keep a copy of `state`, and write it if it is time."""
        self._newest = _copy(state)
        if time.perf_counter() >= self._next_write:
            self.write()

    def write(self):
        """Write the newest state, if there is one that was not written yet."""
        if self._newest is None:
            return
        began = time.perf_counter()
        tensors: dict[str, np.ndarray] = {}
        values = _take_arrays(self._newest, "", tensors)
        texts = {
            "identity": json.dumps(self._identity, sort_keys=True),
            "values": json.dumps(values),
        }
        metadata = {"format": FORMAT, **texts, "checksum": _checksum(tensors, texts)}
        write_tensors("checkpoint", self._path, tensors, metadata)
        self._newest = None
        now = time.perf_counter()
        self._next_write = now + max(_SECONDS_BETWEEN, _WRITING_SHARE * (now - began))

    def _read(self):
        shown = str(self._path)
        try:
            tensors, metadata = read_tensors(self._path)
        except ValueError as error:
            raise ValueError(
                f"checkpoint must be a whole file, {shown!r} is not: {error}"
            ) from None
        if metadata.get("format") != FORMAT:
            raise ValueError(
                f"checkpoint must be a file that fit wrote there, the format of {shown!r} is "
                f"{metadata.get('format')!r}, not {FORMAT!r}"
            )
        try:
            texts = {name: metadata[name] for name in ("identity", "values")}
            checksum = metadata["checksum"]
        except KeyError as error:
            raise ValueError(
                f"checkpoint must be a whole file, {shown!r} lacks its {error}"
            ) from None
        if checksum != _checksum(tensors, texts):
            raise ValueError(f"checkpoint must be a whole file, the checksum of {shown!r} differs")
        identity, values = json.loads(texts["identity"]), json.loads(texts["values"])
        for name, mine in json.loads(json.dumps(self._identity)).items():
            if identity.get(name) != mine:
                raise ValueError(
                    f"checkpoint must be of this fit, but {shown!r} differs in {name}: "
                    f"{_shorten(identity.get(name))}, not {_shorten(mine)}"
                )
        return _put_arrays(values, "", tensors)


def identify(net, problem, samples, stages, batches):
    """What a fit is about: network, data, objective, optimizers and mini-batches."""
    if isinstance(samples, tuple):
        data = [*map(_checksum_of, samples)]
    else:
        source = samples.source
        of_rows = {"shape": source.shape, "dtype": source.dtype.str, "rows": source.fingerprint()}
        data = [of_rows, _checksum_of(samples.targets), _checksum_of(samples.weights)]
    return {
        "architecture": net.architecture(),
        "data": data,
        # But for the number of threads, and for the lengths of sequences, which the data tell.
        "objective": [
            one.identity() if isinstance(one, CustomLoss) else one
            for one in problem[: problem._fields.index("n_threads")]
        ],
        "optimizer": [_describe(stage) for stage in stages],
        "mini-batches": [_describe(batches[name]) for name in _MINI_BATCHES],
    }


def _checksum_of(array):
    """Of all numbers of an array, or if there are many, of some stretches all over it."""
    data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    if data.size <= _MOST_BYTES:
        return zlib.crc32(data.data)
    total = 0
    for start in np.linspace(0, data.size - _STRETCH, _N_STRETCHES).astype(np.int64):
        total = zlib.crc32(data[start : start + _STRETCH].data, total)
    return total


def _describe(value):
    """Hyperparameters as JSON, without the budgets."""
    if is_dataclass(value):
        given = {f.name: getattr(value, f.name) for f in fields(value) if f.name not in _BUDGETS}
        for name in ("factors", "decay_factors"):  # older files know of none
            if not given.get(name):
                given.pop(name, None)
        return {"name": type(value).__name__, **_describe(given)}
    if isinstance(value, Mapping):
        return {str(key): _describe(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_describe(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return _describe(value.tolist())
    return value if isinstance(value, bool | int | float | str | None) else repr(value)


def _shorten(value, most=200):
    text = json.dumps(value)
    return text if len(text) <= most else f"{text[:most]}..."


def _checksum(tensors, texts):
    """Of all that a file holds: numbers, what they are, and texts."""
    total = zlib.crc32(json.dumps(texts, sort_keys=True).encode())
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        total = zlib.crc32(f"{name} {array.dtype.str} {tensors[name].shape}".encode(), total)
        total = zlib.crc32(array.tobytes(), total)
    return str(total)


def _copy(value):
    if isinstance(value, Mapping):
        return {key: _copy(one) for key, one in value.items()}
    if isinstance(value, list):
        return list(value)  # its members are never changed in place
    return value.copy() if isinstance(value, np.ndarray) else value


def _take_arrays(value, path, tensors):
    """Move all arrays of a nested dict, and lists of numbers or arrays, into `tensors`."""
    if isinstance(value, Mapping):
        return {key: _take_arrays(one, f"{path}/{key}", tensors) for key, one in value.items()}
    if isinstance(value, np.ndarray | list):
        tensors[path] = np.array(value, order="C")
        return None
    return value.item() if isinstance(value, np.generic) else value


def _put_arrays(values, path, tensors):
    """Undo `_take_arrays`; a list comes back as an array."""
    if path in tensors:
        return tensors[path]
    if isinstance(values, dict):
        return {key: _put_arrays(one, f"{path}/{key}", tensors) for key, one in values.items()}
    return values
