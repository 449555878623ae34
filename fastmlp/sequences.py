"""Sequences in time as the rows that kernels take: step after step, then the length if given."""

from typing import Any

import numpy as np

from fastmlp.program import Sequences
from fastmlp.validation import as_array, as_real, check_finite


def as_sequences(
    X: Any, lengths: Any, dtype: np.dtype, n_inputs: int, by_step: bool
) -> tuple[np.ndarray, Sequences]:
    """Check X (n, T, n_inputs) and its lengths, but for numbers that are not finite.

    Returns
    -------
    rows : ndarray, (n, T * n_inputs), or one column more with lengths
        Without lengths a view of X, if it is contiguous and of `dtype`. With lengths a copy, in
        which what lies beyond them is 0.
    sequences : Sequences
    """
    X = check_sequences(X, dtype, n_inputs)
    n_rows, n_steps = X.shape[:2]
    rows = X.reshape(n_rows, n_steps * n_inputs)
    if lengths is None:
        return rows, Sequences(n_steps, False, by_step)
    lengths = check_lengths(lengths, n_rows, n_steps)
    copied = np.empty((n_rows, n_steps * n_inputs + 1), dtype)
    is_unused = is_beyond(lengths, n_steps)[..., np.newaxis]
    copied[:, :-1] = np.where(is_unused, 0, X).reshape(rows.shape)
    copied[:, -1] = lengths
    return copied, Sequences(n_steps, True, by_step)


def check_sequences(X: Any, dtype: np.dtype, n_inputs: int) -> np.ndarray:
    """Check the shape of X (n, T, n_inputs); return it C-contiguous and of `dtype`."""
    X = as_array("X", X, dtype)
    if X.ndim != 3 or X.shape[2] != n_inputs:
        raise ValueError(
            f"X must have the shape (n, T, {n_inputs}), sequences of T steps with one column for "
            f"each input, got {X.shape}"
        )
    if 0 in X.shape:
        raise ValueError(f"X must have at least one row, and one step in each, got {X.shape}")
    return X


def check_lengths(lengths: Any, n_rows: int, n_steps: int) -> np.ndarray:
    """Check how many steps each row has; return it as integers."""
    given = as_real("lengths", lengths)
    if given.shape != (n_rows,):
        raise ValueError(
            f"lengths must have the shape ({n_rows},), one for each row of X, got {given.shape}"
        )
    check_finite("lengths", given)
    for wrong, allowed in (
        (given != np.trunc(given), "whole numbers"),
        ((given < 1) | (given > n_steps), f"from 1 to {n_steps}, the steps of X"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            raise ValueError(f"lengths must be {allowed}, got {given[row]} for row {row}")
    return given.astype(np.int64)


def is_beyond(lengths: np.ndarray, n_steps: int) -> np.ndarray:
    """Whether each step of each row, (n, n_steps), comes after the row's last one."""
    return np.arange(n_steps) >= lengths[:, np.newaxis]


def without_padding(targets: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Targets of each step, with those beyond the lengths replaced by that of the first step.

    Nobody reads them, but some kernels take a class index as a place in memory. Targets of another
    shape than (n, T) or (n, T, n_out) come back as they are, to be refused.
    """
    if targets.ndim < 2 or targets.ndim > 3 or len(targets) != len(lengths):
        return targets
    beyond = is_beyond(lengths, targets.shape[1])
    if targets.ndim == 3:
        beyond = beyond[..., np.newaxis]
    return np.where(beyond, targets[:, :1], targets)
