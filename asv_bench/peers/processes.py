"""New Python processes, with a limit on their time."""

import os
import signal
import subprocess
import sys

# A process that takes longer is ended: compiling in several ways and two epochs of each take some
# minutes at most, on a machine that does other work as well.
TIMEOUT = 600.0


class Failed(Exception):
    """A process that gave no figure; says why."""


def run_python(arguments, timeout=None, **environment):
    """Run Python in a new process and return what it prints.

    Parameters
    ----------
    arguments : list of str
    timeout : float or None, default None
        Seconds that it may take; None for TIMEOUT.
    **environment
        Variables for it beside those of this process.

    Raises
    ------
    Failed
        If it does not succeed, or not in time.
    """
    timeout = TIMEOUT if timeout is None else timeout
    environment = {**os.environ, **environment}
    # A core type forced for reproducibility would hold NumPy's peak and scikit-learn back.
    environment.pop("OPENBLAS_CORETYPE", None)
    process = subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise Failed(f"took more than {timeout:g} s") from None
    finally:
        _end(process)
    if process.returncode:
        raise Failed((errors.strip().splitlines() or ["no message"])[-1])
    return output


def _end(process):
    """End a process that still runs, and its children: torch.compile has workers."""
    if process.poll() is None:
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate()
