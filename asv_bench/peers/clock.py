"""The fastest of many repetitions."""

import time

SECONDS_PER_RUN = 3.0

# Shorter calls are timed several at once, so that reading the clock is no part of the figure.
SECONDS_PER_READING = 5e-3


def fastest_epoch(run_epoch, seconds=SECONDS_PER_RUN):
    """Least seconds of an epoch, after one that compiles and warms up; of two at least."""
    run_epoch()
    return min(_readings(run_epoch, seconds))


def fastest_call(call, seconds=SECONDS_PER_RUN):
    """Least seconds of a call, after one that compiles and warms up."""
    call()
    n_calls, reading = 1, 0.0
    while True:
        start = time.perf_counter()
        for _ in range(n_calls):
            call()
        reading = time.perf_counter() - start
        if reading > SECONDS_PER_READING:
            break
        n_calls *= 2

    def calls():
        for _ in range(n_calls):
            call()

    return min(_readings(calls, seconds)) / n_calls


def fastest_run(run, seconds=SECONDS_PER_RUN):
    """The fastest of some runs, each with its own `seconds`, after one that compiles; of two."""
    run()
    runs, began = [], time.perf_counter()
    while len(runs) < 2 or time.perf_counter() - began < seconds:
        runs.append(run())
    return min(runs, key=lambda done: done.seconds)


def _readings(run, seconds):
    n_readings, began = 0, time.perf_counter()
    while n_readings < 2 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        run()
        yield time.perf_counter() - start
        n_readings += 1
