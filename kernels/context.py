"""What the passes over a chunk of samples have in common, by name.

A worker makes these once from its arguments, and the functions that are compiled into it hand them
on: that costs nothing.
"""

from typing import NamedTuple

import numpy as np


class Net(NamedTuple):
    """A network, and what to do with it."""

    plan: np.record  # `records.PLAN`
    layout: np.ndarray  # of `records.LAYER`
    constants: np.ndarray  # see `codes.ACTIVATION_PARAMETERS`


class Data(NamedTuple):
    """Samples, which are read. All but the order are flat."""

    X: np.ndarray
    Y: np.ndarray
    weights: np.ndarray  # mean 1, or none
    order: np.ndarray  # rows of the epoch, if the plan says gather


class Space(NamedTuple):
    """The workspace, where the plan says what is where."""

    work: np.ndarray  # all of it
    own: np.ndarray  # from that on which a part has to itself, or else all parts share
    scratch: np.ndarray  # the part's, which functions may destroy


class Team(NamedTuple):
    """Parts that share work out and wait for each other, and which of them this is."""

    part: int
    n_parts: int
    sync: np.ndarray  # see `team`


class Trained(NamedTuple):
    """What is trained and by what, each as long as theta, the state with its slots one by one."""

    theta: np.ndarray
    state: np.ndarray
    gradient: np.ndarray


class Step(NamedTuple):
    """What is done with a chunk, and which it is.

    There are two places for what one chunk's parts may still read while others begin the next, and
    chunks take them in `turn`.
    """

    start: int  # its first row
    rows: int
    batch: int  # rows of its mini-batch
    first: int  # whether it is the first chunk of that, and the last
    last: int
    turn: int  # 0 or 1
    updates: int  # so far
    backward: bool  # whether deltas are asked for


class Rows(NamedTuple):
    """Rows of the samples, along the order of the epoch, and their place in the buffers."""

    start: int
    count: int
    at: int


class Columns(NamedTuple):
    """Columns ``first : stop`` of X in slices of `width`, the last one with what is left.

    That from column k on is a matrix of its own, which begins at element ``room * (k - first)`` and
    has `gap` columns more.
    """

    of: int  # all columns of X
    first: int
    stop: int
    width: int
    room: int
    gap: int


class Share(NamedTuple):
    """The tasks ``first : stop`` of a table, which are a part's."""

    tasks: np.ndarray
    first: int
    stop: int


class Place(NamedTuple):
    """Vectors of the parameters, slots and gradient that a task is part of, and where in them.

    Namely the offset of its first row of [W; b], in all three of them, and the columns of a row.
    """

    theta: np.ndarray
    state: np.ndarray
    gradient: np.ndarray
    offset: int
    columns: int
