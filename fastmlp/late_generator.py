"""A generator of random numbers that is made once somebody draws from it."""

from functools import cached_property

import numpy as np

from fastmlp.validation import as_generator


class LateGenerator:
    """Stands for ``np.random.default_rng(seed)``, and does what that does.

    To make one takes a tenth of the time that a fit of some full batches spends in Python, and such
    a fit draws nothing.

    Parameters
    ----------
    seed : int or None
    """

    def __init__(self, seed: int | None):
        self._seed = seed

    @cached_property
    def _generator(self) -> np.random.Generator:
        return np.random.default_rng(self._seed)

    def __getattr__(self, name):
        if name.startswith("_"):  # nobody's business, and asked for before there is a seed
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self._generator, name)


def late_generator(seed) -> np.random.Generator | LateGenerator:
    """Check a seed; return the generator that it stands for, made late if the seed is plain."""
    if seed is None or (type(seed) is int and seed >= 0):
        return LateGenerator(seed)
    return as_generator(seed)
