"""Threads that fit at the same time: who has a turn with Python, and generators made late."""

import copy
import pickle
import threading

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fastmlp import MLP, SGD, fit_many, sweep
from fastmlp.late_generator import LateGenerator, late_generator
from fastmlp.turns import Turns, aside


def test_one_thread_at_a_time_has_a_turn():
    turns, order = Turns(), []
    arrived = threading.Barrier(2, timeout=60)

    def work(name):
        arrived.wait()
        for _ in range(200):
            with turns:
                order.append(name)
                order.append(name)

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order[::2] == order[1::2]
    assert sorted(order) == ["a"] * 400 + ["b"] * 400


def test_others_have_a_turn_during_a_long_call_and_it_goes_on_afterwards():
    turns, seen = Turns(), []

    def other():
        with turns:
            seen.append("other")

    def kernel(x):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(timeout=60)
        seen.append("kernel")
        return 2 * x

    def fail():
        raise ZeroDivisionError

    with turns:
        assert aside(kernel, 21) == 42
        with pytest.raises(ZeroDivisionError):
            aside(fail)
        late = threading.Thread(target=other)
        late.start()
        late.join(timeout=0.05)
        assert seen == ["other", "kernel"]  # the third waits until the turn is over
    late.join(timeout=60)
    assert seen == ["other", "kernel", "other"]


def test_without_turns_a_long_call_is_a_call():
    assert aside(divmod, 7, 2) == (3, 1)


@pytest.mark.parametrize("epochs", [1, 6])
def test_networks_side_by_side_take_turns_and_come_out_alike(epochs, monkeypatch):
    """Whether calls count as short or as long, and whether a fit holds on or not."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(300, 5)), rng.normal(size=300)

    def trained(n_threads, **options):
        nets = [MLP([5, 8, 1], seed=seed) for seed in range(8)]
        fit_many(nets, X, y, batch_size=32, epochs=epochs, seeds=1, n_threads=n_threads, **options)
        return np.array([net.theta for net in nets])

    expected = trained(1)
    for limit in (0.0, np.inf):
        monkeypatch.setattr(sweep, "_LONG", limit)
        monkeypatch.setattr(sweep, "_LONG_EVALUATION", limit)
        assert_array_equal(trained(4), expected)
        # Such fits run other Python, and take no turns.
        assert_array_equal(trained(4, callbacks=lambda progress: None), expected)


def test_a_fit_that_fails_leaves_the_turn_to_others():
    X = np.random.default_rng(0).normal(size=(64, 2))
    nets = [MLP([2, 4, 1], seed=seed) for seed in range(6)]
    results = fit_many(
        nets, X, X[:, 0], optimizer=SGD(learning_rate=1e30), epochs=3, seeds=0, n_threads=2
    )
    assert [str(result.status) for result in results] == ["not finite"] * 6


@pytest.mark.parametrize("seed", [0, 7, 2**70])
def test_a_late_generator_draws_what_numpys_does(seed):
    late, numpys = late_generator(seed), np.random.default_rng(seed)
    assert isinstance(late, LateGenerator)
    assert "_generator" not in vars(late)
    assert_array_equal(late.random(5), numpys.random(5))
    assert late.integers(2**63) == numpys.integers(2**63)
    assert late.bit_generator.state == numpys.bit_generator.state
    late.bit_generator.state = np.random.default_rng(3).bit_generator.state
    assert_array_equal(late.random(5), np.random.default_rng(3).random(5))


def test_without_a_seed_each_late_generator_is_another():
    assert late_generator(None).random() != late_generator(None).random()


def test_other_seeds_are_checked_at_once():
    sequence = np.random.SeedSequence(5)
    assert_array_equal(late_generator(sequence).random(3), np.random.default_rng(5).random(3))
    for bad, error in ((-1, ValueError), (True, TypeError), ("a", TypeError), (0.5, TypeError)):
        with pytest.raises(error, match=r"^seed must be None or an integer from 0 up, got "):
            late_generator(bad)


def test_a_fit_of_full_batches_makes_no_generator(monkeypatch):
    X = np.random.default_rng(0).normal(size=(20, 2))
    made = []

    def make(self):
        made.append(self)
        return np.random.default_rng(0)

    monkeypatch.setattr(LateGenerator, "_generator", property(make))
    MLP([2, 3, 1], seed=0).fit(X, X[:, 0], batch_size=None, epochs=2, seed=0)
    assert not made
    MLP([2, 3, 1], seed=0).fit(X, X[:, 0], batch_size=5, epochs=2, seed=0)
    assert made


def test_a_late_generator_can_be_copied_before_and_after_it_has_drawn():
    late = late_generator(4)
    before = pickle.loads(pickle.dumps(late))
    drawn = late.random(2)
    after = copy.deepcopy(late)
    assert_array_equal(before.random(2), drawn)
    assert_array_equal(after.random(2), late.random(2))
