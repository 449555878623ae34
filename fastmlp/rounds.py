"""Local averaging: each part trained on by itself, round by round, and the mean taken."""

import math

import numpy as np

from fastmlp.monitor import Stop
from fastmlp.part_tasks import LocalTraining
from fastmlp.result import Status
from fastmlp.running import fit_result
from fastmlp.validation import rounded


def run_rounds(objective, optimizer, rounds, n_epochs, monitor, batches, seed):
    """Average locally trained networks in rounds; return the FitResult.

    Parameters
    ----------
    objective : PartsObjective
    optimizer : Stochastic
    rounds, n_epochs : int
        Rounds, and the epochs of each part in one.
    monitor : Monitor
    batches : dict
        What `training.check_batches` returns.
    seed : int
        See `LocalTraining`.
    """
    net = objective.net
    state = np.zeros(optimizer.n_slots * net.n_params, net.dtype)
    taken = tuple(batches[name] for name in ("batch_size", "shuffle", "clip_norm"))
    all_epochs = rounds * n_epochs
    finished, loss = net.learned(), np.nan
    best, best_loss = finished, np.nan
    try:
        for done in range(rounds + 1):
            if done:
                times = done - 1, n_epochs, all_epochs
                task = LocalTraining(net, state, optimizer, taken, objective.settings, seed, *times)
                learned, state = _mean(objective, task, state, monitor)
                net.take_learned(learned)
                monitor.epoch = done
                monitor.data_passes += n_epochs
            with monitor.paused():
                value = objective.value()
            if not math.isfinite(value):
                raise Stop(Status.NOT_FINITE, "the objective is not finite")
            finished, loss = net.learned(), value
            if not loss >= best_loss:  # which may be NaN
                best, best_loss = finished, loss
            monitor.record(loss, net.theta, first=not done, calls_back=done > 0)
        status, message = Status.COMPLETED, f"{rounds} rounds done"
    except Stop as stop:
        status, message = stop.status, stop.message
    finally:
        net.take_learned(finished)
    if status is Status.NOT_FINITE:
        net.take_learned(best)
        loss, message = best_loss, f"{message}; theta is back at the best finite one"
    seconds, wanted = monitor.seconds, monitor.go_back()
    if wanted is not None:
        loss, message = wanted.record.objective, f"{message}; {wanted.message}"
    return fit_result(net.theta.copy(), loss, status, message, monitor, seconds)


def _mean(objective, task, state, monitor):
    """What a round comes to: the mean of what parts have learned, and of the optimizer's states."""
    net = objective.net
    theta, new_state = np.zeros(net.n_params), np.zeros(state.size)
    statistics = None if net._statistics is None else np.zeros(net._statistics.size)
    for share, one in objective.means(task, monitor.check):
        monitor.count(one.n_updates, one.n_updates, 0)
        if not one.is_finite:
            raise Stop(Status.NOT_FINITE, f"the objective is not finite in part {one.number}")
        own_theta, own_statistics = one.learned
        theta += share * own_theta
        new_state += share * one.state
        if statistics is not None:
            statistics += share * own_statistics
    if statistics is not None:
        statistics = rounded(statistics, net.dtype)
    return (rounded(theta, net.dtype), statistics), rounded(new_state, net.dtype)
