"""What one call of partial_fit leaves to the next, so that it need not be done again."""

import functools
import math
import operator
import warnings
from typing import Any

import numpy as np
from sklearn.base import is_classifier

from fastmlp.kernels import codes
from fastmlp.kernels._jit import clock
from fastmlp.kernels.epoch import Update
from fastmlp.losses import CHECKED
from fastmlp.objective import Objective, penalty
from fastmlp.optimizers import Stochastic
from fastmlp.order import random_order
from fastmlp.sources.windowed import Windowed
from fastmlp.validation import rounded

INTERRUPTED = "Training interrupted by user."

# Parameters of these kinds may change while they stay the same object. What a dict holds, the
# factors of classes, is looked at in every call.
_MUTABLE = (list, np.ndarray)


class Continuation:
    """Parameters that were checked, and the compiled loop that was made for them.

    It saves time and no more: an estimator that has lost it, as a pickle has, goes on with the same
    bits. What it is not made for is done anew.

    Parameters
    ----------
    estimator : BaseMLP
        Its parameters have been checked.
    stages : list of Optimizer
        What the parameters stand for.

    Attributes
    ----------
    stages : list of Optimizer
    rng : numpy.random.Generator
        In any state.
    sizes : tuple of int or None
        Rows of a chunk and of its mini-batches for which the optimizer was checked last.
    """

    def __init__(self, estimator, stages):
        self.stages = stages
        self.rng = np.random.default_rng()
        self.sizes = None
        self._parameters = given = _parameters(estimator)
        self._mutable = [(one, list(one)) for one in given if isinstance(one, _MUTABLE)]
        self._network: Any = None
        self._sweep: Any = None
        self._made_for: Any = None
        self._epoch: Epoch | None = None

    def is_for(self, estimator):
        """Whether the estimator has the parameters, and the network, that the last call left."""
        return (
            vars(estimator).get("network_") is self._network
            and all(map(operator.is_, _parameters(estimator), self._parameters))
            and all(list(one) == before for one, before in self._mutable)
        )

    def sweep(self, objective, batch_rows, gather, make):
        """The loop that was kept, if it is for such an objective, or what `make` makes."""
        made_for = batch_rows, gather
        if made_for != self._made_for or not self._sweep.take(objective.net, objective.problem):
            self._sweep, self._made_for = make(), made_for
        return self._sweep

    def keep(self, estimator, objective):
        """Take it that a call has come to its end."""
        self._network, self._epoch = estimator.network_, None
        is_plain = _is_plain(estimator, self.stages[0], objective)
        if is_plain and self._sweep.is_small and self._sweep.one_chunk:
            _, gathers = self._made_for
            self._epoch = Epoch(self.stages[0], self._sweep, gathers)

    def go_on(self, estimator, X, y):
        """Do what a call of partial_fit does, if it differs from the last one in numbers alone.

        Return whether it is done. If not, the estimator is as it was, and other ways may tell why.
        """
        epoch = self._epoch
        if epoch is None or not self.is_for(estimator) or not epoch.fits(estimator, X):
            return False
        # To take signals, as `Monitor` does, takes a third of the time that all else does here. So
        # what Ctrl-C breaks off is done again, and so comes to its end as it does there.
        try:
            done = epoch.run(estimator, self.rng, X, y)
        except KeyboardInterrupt:
            is_done = estimator.network_ is not self._network
            done = is_done or epoch.run(estimator, self.rng, X, y)
            warnings.warn(INTERRUPTED, UserWarning, stacklevel=4)
        self._network = estimator.network_
        return done


class ChunkObjective(Objective):
    """A network's objective on one chunk of samples, whose loop is kept if it is in memory.

    Parameters
    ----------
    continuation : Continuation
    net, X, y, loss, sample_weight, l2, n_threads
        As of `fastmlp.Objective`.
    """

    def __init__(self, continuation, net, X, y, **options):
        super().__init__(net, X, y, **options)
        self._continuation = continuation

    def sweep(self, batch_rows, *, gather, optimizer):
        """The compiled loop over its mini-batches."""

        def make():
            return Objective.sweep(self, batch_rows, gather=gather, optimizer=optimizer)

        if not self.is_in_memory:
            return make()
        return self._continuation.sweep(self, batch_rows, gather, make)

    def leave(self, sweep=None):
        """Keep no sweep elsewhere: the continuation has it."""


class Epoch:
    """An epoch on a chunk, in the least time: without anything that could be asked for besides.

    Parameters
    ----------
    stage : Stochastic
        Without schedules.
    sweep : Sweep
        Made for a chunk of as many rows, without weights.
    gathers : bool
        Whether rows are taken in a random order.
    """

    def __init__(self, stage, sweep, gathers):
        self._sweep, self._problem, self._gathers = sweep, sweep.problem, gathers
        n_updates = sweep.n_updates
        self._rates = stage.rates(0, n_updates, n_updates, n_updates)

    def fits(self, estimator, X):
        """Whether X is of such a chunk, and the weights are those of the network."""
        given, net = vars(estimator), estimator.network_
        return (
            type(X) is np.ndarray
            and X.shape == (self._problem.n_rows, net.layer_sizes[0])
            and X.dtype is net.dtype
            and X.flags.c_contiguous
            and "feature_names_in_" not in given
            and "_skl_callbacks" not in given
            and _are_same(given.get("coefs_", ()), net.weights)
            and _are_same(given.get("intercepts_", ()), net.biases)
        )

    def run(self, estimator, rng, X, y):
        """Train; return whether y could be told and all was finite. Else nothing has changed.

        Nor has anything if an exception comes out, or else all has.

        Nobody looks at the numbers of X before: each is a factor in the gradients of some weights,
        and what is not finite there, or in y, leaves theta, or the loss, not finite.
        """
        began = clock()
        targets = estimator._plain_targets(y)
        if targets is None:
            return False
        problem, sweep, before = self._problem, self._sweep, estimator._states[0]
        net, optimizer = estimator.network_.copy(), before["optimizer"]
        theta, state = net.theta, optimizer["state"].copy()
        rng.bit_generator.state = estimator._shuffle
        order = random_order(rng, problem.n_rows) if self._gathers else None
        targets = rounded(targets, net.dtype).ravel()
        if targets.size != problem.n_rows * problem.n_target:
            return False
        nothing = theta[:0]
        sweep.take(net, problem)
        sweep.begin(order, optimizer["n_updates"])
        update = Update(state, self._rates, math.inf)
        while sweep.advance(codes.UPDATE, theta, (X, targets, nothing), nothing, update):
            if sweep.done:
                break
        loss = sweep.total / problem.n_rows + penalty(net, problem, theta)
        if not (sweep.all_finite and math.isfinite(loss)):
            return False
        n_updates = sweep.n_updates
        optimizer = optimizer | {"state": state, "n_updates": optimizer["n_updates"] + n_updates}
        best = math.inf if estimator.best_loss_ is None else estimator.best_loss_
        lags = loss > best - estimator.tol
        rate = float(self._rates[-1, codes.RATE])
        row = (clock() - began, 1, 1.0, n_updates, n_updates, loss, math.nan, math.nan, rate)
        changed = dict(
            network_=net,
            coefs_=list(net.weights),
            intercepts_=list(net.biases),
            _states={0: before | {"optimizer": optimizer, "epochs": before["epochs"] + 1}},
            _shuffle=rng.bit_generator.state,
            n_iter_=1,
            t_=estimator.t_ + problem.n_rows,
            loss_=loss,
            best_loss_=min(best, loss),
            _no_improvement_count=estimator._no_improvement_count + 1 if lags else 0,
            validation_scores_=None,
            best_validation_score_=None,
        )
        curve, trace = estimator.loss_curve_, estimator.trace_
        lengths = len(curve), len(trace)
        try:
            curve.append(loss)
            trace._go_on([row])
            vars(estimator).update(changed)
        except BaseException:  # of a signal
            if estimator.network_ is not net:
                del curve[lengths[0] :], trace[lengths[1] :]
            raise
        return True


def _is_plain(estimator, stage, objective):
    """Whether a call was of nothing but what an `Epoch` knows."""
    net, batch_size = objective.net, estimator.batch_size
    return (
        isinstance(stage, Stochastic)
        and objective.is_in_memory
        and not objective.samples[2].size
        and (is_classifier(estimator) or objective.problem.loss_code not in CHECKED)
        and (batch_size == "auto" or batch_size <= objective.n_rows)
        and estimator.learning_rate == "constant"
        and not stage.own_schedules
        and not isinstance(estimator.shuffle, Windowed)
        and net._pieces.dropout_schedule is None
        and net._statistics is None
        and not net._pieces.drops
        and estimator._scaling is None
        and estimator.init != "data"
        and not (estimator.callbacks or estimator.verbose)
        and estimator.time_limit is estimator.clip_norm is estimator.inputs is None
    )


def _are_same(arrays, others):
    return len(arrays) == len(others) and all(map(operator.is_, arrays, others))


def _parameters(estimator):
    """All that an estimator was given."""
    return _getter(type(estimator))(vars(estimator))  # type: ignore[arg-type]


@functools.cache
def _getter(kind):
    return operator.itemgetter(*kind._get_param_names())
