"""What a command says, and the exit statuses it ends with."""

import os
import sys
from contextlib import suppress

# Exit statuses.
DONE = 0
DIVERGED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE


def discard(stream):
    """Let a standard stream go nowhere, so that its last flush cannot fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def flush_errors():
    """Flush standard error; where that fails, nothing is lost that is worth a result."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            discard(sys.stderr)


def say(line):
    """Print to standard error, if there is one."""
    if sys.stderr is not None:  # for which `print` would take standard output
        with suppress(OSError):
            print(line, file=sys.stderr)
        flush_errors()


def print_error(message):
    say(f"fastmlp: error: {message}")


def print_warning(message, *where):
    say(f"fastmlp: warning: {message}")


def reporter(out):
    """What says what was written: `say` if standard output is the file itself, else `print`."""
    try:
        is_the_file = os.path.samestat(os.stat(out), os.fstat(1))
    except OSError:  # there is no file yet, or no standard output
        is_the_file = False
    return say if is_the_file else print
