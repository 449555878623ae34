"""What fits take, as type checkers see it, and how one function takes the options of another."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeAlias, TypedDict, TypeVar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    from fastmlp.callbacks import Callback
    from fastmlp.monitor import Progress
    from fastmlp.optimizers import Optimizer
    from fastmlp.sources.rows import Rows
    from fastmlp.sources.windowed import Windowed

_P = ParamSpec("_P")
_T = TypeVar("_T")

# X: an array, a data frame, a sparse matrix, or rows that are read when they are needed.
Features: TypeAlias = "ArrayLike | Rows"
Optimizers: TypeAlias = "Optimizer | str | Sequence[Optimizer | str]"
Loss: TypeAlias = "str | tuple[Callable[..., Any], Callable[..., Any]]"
BatchSize: TypeAlias = 'int | Literal["auto"] | None'
Shuffle: TypeAlias = 'bool | Literal["replacement"] | Windowed'
Callbacks: TypeAlias = (
    "Callable[[Progress], object] | Callback | Sequence[Callable[[Progress], object] | Callback]"
)
ClassWeight: TypeAlias = (
    'Mapping[Any, float] | Sequence[Mapping[Any, float]] | Literal["balanced"] | None'
)
Seed: TypeAlias = "int | np.random.SeedSequence | None"
ValidationData: TypeAlias = (
    "tuple[Features, ArrayLike] | tuple[Features, ArrayLike, ArrayLike | None] | "
    "tuple[Features, ArrayLike, ArrayLike | None, ArrayLike | None]"
)


class CommonOptions(TypedDict, total=False):
    """Options that `fit`, `fit_many` and `fit_parts` have."""

    optimizer: Optimizers | None
    loss: Loss
    batch_size: BatchSize
    epochs: int | None
    l1: float
    l2: float
    shuffle: Shuffle
    clip_norm: float | None
    validation_data: ValidationData | None
    callbacks: Callbacks
    time_limit: float | None
    target_loss: float | None


class OptionsOfMany(CommonOptions, total=False):
    """Options of `fit` that `fit_many` has, too."""

    lengths: ArrayLike | None
    sample_weight: ArrayLike | None
    standardize: bool
    exact_loss: bool


class OptionsOfParts(CommonOptions, total=False):
    """Options of `fit_parts` but for `map`."""

    rounds: int | None
    progress: bool
    n_threads: int | None
    seed: Seed


def defaults_of(source: Callable[..., Any], but: Collection[str] = ()) -> dict[str, Any]:
    """The keyword-only parameters of a function, but for some, and their defaults."""
    return {one.name: one.default for one in _options_of(source, but)}


def _options_of(source, but):
    parameters = inspect.signature(source).parameters.values()
    return [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name not in but]


def shares_options(
    source: Callable[..., Any], but: Collection[str] = ()
) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Have a function take options of another in place of its ``**options``.

    The function is given all of them: those that its caller leaves out as `source` has them. So
    names and defaults are written down once, in the signature of `source`, and whoever asks for
    the signature of the function sees them.

    Parameters
    ----------
    source : callable
        Whose keyword-only parameters are the options, but for those that the function has itself.
    but : collection of str, default ()
        Which of them are none.
    """

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        own = inspect.signature(function)
        kept = [one for one in own.parameters.values() if one.kind is not one.VAR_KEYWORD]
        shared = _options_of(source, {*own.parameters, *but})
        defaults = {one.name: one.default for one in shared}

        @functools.wraps(function)
        def call(*args: _P.args, **named: _P.kwargs) -> _T:
            return function(*args, **defaults | named)  # type: ignore[arg-type]

        vars(call)["__signature__"] = own.replace(parameters=[*kept, *shared])
        return call

    return decorate
