"""How much memory the process may use."""

import re
from pathlib import Path

from fastmlp.kernels.cgroups import OWN, ROOT, cgroups

_AVAILABLE = re.compile(r"^MemAvailable:\s*(\d+) kB$", re.MULTILINE)


def available_memory(root=ROOT, own=OWN, machine=Path("/proc/meminfo")):
    """Bytes that the process may use; None where the system does not tell, as only Linux does.

    The least of what the machine has to give and of the limits of the process's control group and
    those above it.

    Parameters
    ----------
    root, own : Path
        As of `cgroups`.
    machine : Path
        What the system says of its memory.
    """
    limits = [_limit_of(folder) for folder in cgroups("memory", root, own)]
    found = _AVAILABLE.search(_text_of(machine))
    limits.append(1024 * int(found[1]) if found else None)
    return min((limit for limit in limits if limit is not None), default=None)


def _limit_of(folder):
    """Bytes that a cgroup grants, in version 2 or 1; None without a limit of its own."""
    text = _text_of(folder / "memory.max") or _text_of(folder / "memory.limit_in_bytes")
    text = text.strip()
    return int(text) if text.isdecimal() else None  # else "max"


def _text_of(path):
    try:
        return path.read_text()
    except (OSError, ValueError):
        return ""
