"""Threads that fit networks at the same time take turns with Python, and run kernels side by side.

Python runs in one thread at a time. Small fits are some stretches of Python between kernels, and
threads that all want their next stretch wake each other up at every kernel, however short: two that
have once met stay in step, and each waits for the other in each fit. Who has a turn keeps it until
its kernels take long. So the others come when it is in these, and after one round nobody waits.
"""

import threading
from contextvars import ContextVar

_held: ContextVar = ContextVar("turns that the running fit takes", default=None)


class Turns:
    """A context that one thread at a time is in, but for its calls of `aside`."""

    def __init__(self):
        self._lock = threading.Lock()

    def __enter__(self):
        self._lock.acquire()
        _held.set(self._lock)
        return self

    def __exit__(self, *exception):
        _held.set(None)
        self._lock.release()


def aside(call, *arguments):
    """Return ``call(*arguments)``, which runs long without Python, and let others have a turn."""
    lock = _held.get()
    if lock is None:
        return call(*arguments)
    lock.release()
    try:
        return call(*arguments)
    finally:
        lock.acquire()
