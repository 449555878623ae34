"""When kernels are compiled: one at a time, off the clock, and never broken off.

A fork waits for the compiler, and it runs in no thread in which handlers of signals could raise an
exception.
"""

import ctypes
import gc
import os
import sys
import threading
import time


class _Lock:
    """Stands in for Numba's lock, which is not documented: ours wait for each other all the same.

    Only a fork no longer waits for what others compile.
    """

    def __init__(self):
        self._lock = threading.RLock()

    def acquire(self):
        self._lock.acquire()

    def release(self):
        self._lock.release()

    def is_locked(self):
        return self._lock._is_owned()

    def __enter__(self):
        self.acquire()

    def __exit__(self, *error):
        self.release()


def _compiler_lock():
    try:
        from numba.core.compiler_lock import global_compiler_lock
    except ImportError:
        return _Lock()
    is_known = all(hasattr(global_compiler_lock, name) for name in vars(_Lock()) | vars(_Lock))
    return global_compiler_lock if is_known else _Lock()


lock = _compiler_lock()


class _Spent(threading.local):
    """Seconds for which this thread has waited for kernels."""

    seconds = 0.0


_spent = _Spent()


def clock():
    """Seconds, as of `time.perf_counter`, without those spent on kernels for this thread.

    It stands still while kernels are compiled or loaded.
    """
    return time.perf_counter() - _spent.seconds


def undisturbed(function, *arguments):
    """Call what compiles or loads a kernel: one thread at a time, off the `clock`, to its end.

    Python handles signals in the main thread alone. An exception that a handler raises there would
    be lost in Numba, or leave it half changed. So the main thread has another do the work, and is
    free to raise at once.
    """
    began = time.perf_counter()
    try:
        is_main = threading.current_thread() is threading.main_thread()
        return (_by_another_thread if is_main else _compile)(function, arguments)
    finally:
        _spent.seconds += time.perf_counter() - began


def _by_another_thread(function, arguments):
    outcomes: list = []
    # A lock, as a queue's wait has no end if a handler takes longer than its timeout.
    working = threading.Lock()
    working.acquire()

    def work():
        try:
            outcomes.append((_compile(function, arguments), None))
        except BaseException as error:
            outcomes.append((None, error))
        working.release()

    helper = None
    while not outcomes:
        was_alive = helper is not None and helper.is_alive()
        if not was_alive and not outcomes:  # at first, or a handler forked: it is in the parent
            helper = threading.Thread(target=work, name="fastmlp compiler")
            try:
                helper.start()
            except RuntimeError as error:
                if "new thread" not in str(error):  # of a handler
                    raise
                return _compile(function, arguments)  # no thread can start, as at a process's end
        working.acquire(timeout=0.1)
    result, error = outcomes[0]
    if error is not None:
        raise error
    return result


def _compile(function, arguments):
    with lock:
        # The collector finds little in what the compiler builds up, and looks often.
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            return function(*arguments)
        finally:
            if was_enabled:
                gc.enable()


_held_back: list = []  # what handlers of signals raised while a fork waited


def _before_fork():
    """Wait for the compiler: a child would find Numba and LLVM as they are half-way, for good.

    Python drops what is raised here and forks all the same. So it is held back.
    """
    while not lock.is_locked():
        try:
            lock.acquire()
        except BaseException as error:
            _held_back.append(error)


def _after_fork_in_parent():
    if lock.is_locked():
        lock.release()
    if _held_back:
        arguments = (threading.get_ident(), _held_back[-1])
        _held_back.clear()
        threading.Thread(target=_raise_in, args=arguments).start()


def _raise_in(thread, error):
    """Raise an exception in a thread as soon as that has left the hook above."""

    def has_left():
        frame = sys._current_frames().get(thread)
        while frame is not None and frame.f_code is not _after_fork_in_parent.__code__:
            frame = frame.f_back
        return frame is None

    while not has_left():
        time.sleep(1e-3)
    # Python takes a class, and raises what that makes.
    again = type("Again", (BaseException,), {"__new__": lambda cls: error})
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(again))


def _after_fork_in_child():
    lock._lock = threading.RLock()
    _held_back.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
