"""compare: several optimizers on one objective, from one start, with one budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastmlp.naming import names_arguments
from fastmlp.objective import check_network
from fastmlp.options import Loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from fastmlp.comparison import Comparison
    from fastmlp.mlp import MLP
    from fastmlp.options import BatchSize, Features, Optimizers, Shuffle, ValidationData
    from fastmlp.problems import FunctionProblem, NetworkProblem
    from fastmlp.profiles import Comparisons


@names_arguments
def compare(
    net: MLP,
    X: Features,
    y: ArrayLike,
    optimizers: Mapping[str, Optimizers] | Sequence[str],
    *,
    passes: int | None = None,
    time_limit: float | None = None,
    gradient_evaluations: int | None = None,
    seeds: int | Sequence[int] = 1,
    target: float | None = None,
    target_loss: float | None = None,
    loss: Loss = "auto",
    l1: float = 0.0,
    l2: float = 0.0,
    lengths: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    batch_size: BatchSize | Mapping[str, BatchSize] = "auto",
    shuffle: Shuffle = True,
    clip_norm: float | None = None,
    validation_data: ValidationData | None = None,
    progress: bool = False,
    n_threads: int | None = None,
) -> Comparison:
    """Train copies of one network with several optimizers, under equal conditions.

    For each seed all of them start from the same parameters, minimize the same objective, see
    the rows in the same random order, and stop when their budget is spent. `net` itself stays
    as it is.

    Parameters
    ----------
    net : MLP
        The start for the first seed.
    X, y, loss, lengths, sample_weight, l1, l2
        The data and the objective, see `fastmlp.Objective`.
    optimizers : mapping, or list of str
        Names to optimizers, each as `fastmlp.fit` takes it: ``{"adam": Adam(), "mine":
        "sgd(learning_rate=0.1)", "both": [Adam(), LBFGS()]}``. A list of written forms, such as
        ``["adam", "lbfgs"]``, names itself.
    passes : int or None, default None
        Budget of data passes. A stochastic optimizer spends one on an epoch, a solver spends one
        on each evaluation of the objective and its gradient, also on those of its line search
        and the one at the start; both are n rows put forward and back through the network. None
        is no such limit, or 20 where there is no other.
    time_limit : float or None, default None
        Budget of seconds, counted from each optimizer's start; a list has them as a whole. What
        compilation, records and validation take is not counted. Heeded within an epoch.
    gradient_evaluations : int or None, default None
        Budget of gradients; one of a mini-batch counts as much as one of all rows. Without
        `passes` it is one of as many data passes, too, so that methods that evaluate the
        objective alone come to an end.
    seeds : int or sequence of int, default 1
        How many seeds, 0, 1, ..., or which. A seed decides the order of the rows and where the
        optimizers start: for the first seed at the parameters of `net`, for every other one at
        new starting weights, those of ``net.redrawn(seed)``.
    target : float or None, default target_loss
        Objective whose reaching is reported; it stops nothing.
    target_loss : float or None, default None
        Objective at which a run stops.
    batch_size : int, None, "auto", or a mapping, default "auto"
        Rows of a mini-batch, for the stochastic optimizers; None is full batch, "auto" is 128. A
        mapping gives it by the optimizers' names, and those that it leaves out have 128.
    shuffle, clip_norm
        As of `fastmlp.fit`, for the stochastic optimizers; refused if there is none.
    validation_data : (X, y), (X, y, sample_weight) or None, default None
        Its loss goes into the traces, and the scores are taken on it; else on the training data.
        For a `fastmlp.RNN` also (X, y, sample_weight, lengths), as of `fastmlp.fit`.
    progress : bool, default False
        Show a progress bar for each optimizer, over all seeds: that of the one that runs, below
        those that are done.
    n_threads : int or None, default None
        As of `fastmlp.fit`.

    Returns
    -------
    Comparison
        Every record of its traces holds the objective and the gradient norm at that moment's
        theta, for all optimizers alike; evaluating them is off the clock and counts as no pass.
        The last record of a trace has all that was spent. Ctrl-C ends the comparison with what
        there is so far.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is trained.

    Notes
    -----
    The budget takes the place of an optimizer's own ``epochs`` or ``max_iterations``. In a list,
    as in ``[Adam(epochs=20), LBFGS()]``, members with such a number take as many passes first,
    and the others share what is left equally; if all have one, the last takes what is left.

    All optimizers have their turn with a seed before the next seed comes, so that a computer
    that gets slower meanwhile treats them alike.

    Examples
    --------
    >>> from fastmlp import LBFGS, MLP, SGD, compare, datasets
    >>> X, y = datasets.load_digits()
    >>> net = MLP([64, 32, 10], output="softmax", seed=0)
    >>> comparison = compare(net, X, y, {"sgd": SGD(0.1), "lbfgs": LBFGS()}, passes=5, seeds=3)
    >>> print(comparison)  # doctest: +ELLIPSIS
    optimizer          objective               best              accuracy  status
    ...
    For each seed all from the same start, with at most 5 data passes.
    ...
    """
    # Here, because who only trains and predicts need not load all that it takes.
    from fastmlp.contests import (
        NetworkContest,
        batch_sizes,
        check_limits,
        check_optimizers_by_name,
        prepare,
    )

    check_network(net)
    stages = check_optimizers_by_name(optimizers, net.n_params)
    limits = check_limits(
        passes, time_limit, gradient_evaluations, seeds, target, target_loss, progress
    )
    first = limits.seeds[0]
    contest = NetworkContest(
        lambda seed: net if seed == first else net.redrawn(seed),
        first,
        stages,
        X,
        y,
        batch_sizes=batch_sizes(batch_size, shuffle, clip_norm, stages),
        shuffle=shuffle,
        clip_norm=clip_norm,
        validation_data=validation_data,
        problem={"loss": loss, "l1": l1, "l2": l2, "n_threads": n_threads},
        lengths=lengths,
        sample_weight=sample_weight,
    )
    return prepare(contest, stages, limits)()


@names_arguments
def compare_problems(
    problems: Sequence[NetworkProblem | FunctionProblem | str],
    optimizers: Mapping[str, Optimizers] | Sequence[str],
    *,
    passes: int | None = None,
    time_limit: float | None = None,
    gradient_evaluations: int | None = None,
    seeds: int | Sequence[int] = 1,
    progress: bool = False,
    n_threads: int | None = None,
) -> Comparisons:
    """Compare several optimizers on several problems.

    Parameters
    ----------
    problems : list of NetworkProblem, FunctionProblem or str
        Strings are names of `fastmlp.load_problem`. Each must have a target. Where a network or
        function starts, its noise, and the order of rows follow from the seed. Traces hold a
        noisy function's value without the noise.
    optimizers
        As of `compare`; each must be fit for all problems.
    passes, time_limit, gradient_evaluations, seeds
        As of `compare`; on a function a pass is one evaluation, with or without its gradient.
    progress, n_threads
        As of `compare`.

    Returns
    -------
    Comparisons
        A `Comparison` for each problem, by its name, and profiles over all of them. Ctrl-C ends
        it with what there is so far.

    Raises
    ------
    ValueError, TypeError
        For any argument that is not as above, before anything is trained.

    Examples
    --------
    >>> import fastmlp
    >>> compared = fastmlp.compare_problems(
    ...     ["rosenbrock", "beale"], ["bfgs", "lbfgs"], gradient_evaluations=100
    ... )
    >>> list(compared)
    ['rosenbrock', 'beale']
    >>> [run] = compared["beale"].runs["bfgs"]
    >>> run.result.success
    True
    """
    from fastmlp.contests import check_limits, check_problems, prepare_problem
    from fastmlp.profiles import Comparisons

    limits = check_limits(passes, time_limit, gradient_evaluations, seeds, None, None, progress)
    prepared = {}
    for problem in check_problems(problems):
        try:
            prepared[problem.name] = prepare_problem(problem, optimizers, limits, n_threads)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{problem.name}: {error}") from None
    comparisons = {}
    for name, run in prepared.items():
        comparisons[name] = run()
        if comparisons[name].interrupted:
            break
    return Comparisons(comparisons)
