"""The control groups that limit what a process may use of the machine, on Linux."""

from pathlib import Path, PurePosixPath

ROOT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")


def cgroups(controller, root=ROOT, own=OWN):
    """Folders of the process's cgroup and of those above it, as far as they are seen from here.

    A container may see its own at the root, under the name that it has outside.

    Parameters
    ----------
    controller : str
        What version 1 of cgroups has a hierarchy for, such as "cpu" or "memory".
    root, own : Path
        Where the hierarchies are, and the file that names the process's groups.

    Returns
    -------
    set of Path
    """
    folders = {root, root / controller}
    try:
        lines = own.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        parts = PurePosixPath(name).parts[1:]
        if ".." in parts or not (controllers == "" or controller in controllers.split(",")):
            continue
        hierarchy = root / controller if controllers else root
        folders.update(hierarchy.joinpath(*parts[:n]) for n in range(1, len(parts) + 1))
    return folders
