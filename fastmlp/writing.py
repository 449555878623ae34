"""Files that are written whole, or not at all."""

import errno
import os
import shutil
import stat
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

# Symbolic links that lead to one another, at most, as Linux has it.
_MOST_LINKS = 40


@contextmanager
def writing(name, path, mode="wb", **options):
    """Open a file to be written, which is there when all of it is written.

    A plain file is written beside its place and moved there, so that what fails half-way leaves
    the old one as it was; a new one gets the mode that the umask says, an old one keeps its own.
    Of a symbolic link it is the file that it names. What cannot be replaced is written into: a
    device, a pipe, or a file in a folder where there may be no other. So is what this process has
    open, as /dev/stdout, from where that stands.

    Parameters
    ----------
    name : str
        What the argument is called.
    path : str or os.PathLike
    mode : {"wb", "w"}, default "wb"
    **options
        As of `open`.

    Raises
    ------
    TypeError, OSError
        See `check_writable`.
    BrokenPipeError
        If it is a pipe that nobody reads any more.
    """
    check_writable(name, path)
    path = Path(path)
    descriptor, found, place = _descriptor(path), _stat(path), Path(os.path.realpath(path))
    if descriptor is not None or not _is_replaceable(found, place):
        # A copy of a descriptor, which others go on with, to be closed here.
        opened = path if descriptor is None else os.dup(descriptor)
        try:
            with open(opened, mode, **options) as file:
                yield file
        except BrokenPipeError:
            raise BrokenPipeError(
                f"{name} {str(path)!r} is a pipe that nobody reads any more"
            ) from None
        return
    unfinished = place.with_name(f".{uuid.uuid4().hex[:8]}.unfinished")  # short, as names may be
    try:
        with open(unfinished, mode.replace("w", "x"), **options) as file:
            if found is not None:
                _make_alike(unfinished, found)
            yield file
        _move(unfinished, place)
    finally:
        unfinished.unlink(missing_ok=True)


def _stat(path):
    """What there is at `path`, None if nothing."""
    try:
        return os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _descriptor(path):
    """The descriptor of this process that `path` names, None if it names none.

    That is of the file as it was opened: with its position, or to append. The name of the file
    would lead to another opening of it.
    """
    folders = [os.path.realpath(folder) for folder in ("/proc/self/fd", "/dev/fd")]
    for _ in range(_MOST_LINKS):
        folder, name = os.path.split(os.path.abspath(path))
        folder = os.path.realpath(folder)
        if folder in folders and name.isdecimal():
            return int(name)
        path = os.path.join(folder, name)
        if not os.path.islink(path):
            return None
        path = os.path.join(folder, os.readlink(path))
    return None


def _is_replaceable(found, place):
    """Whether a file may be moved to `place`, where `found` is."""
    if found is None:
        return True
    # An open file that was deleted has a name in /proc alone.
    is_plain = stat.S_ISREG(found.st_mode) and place.exists()
    return is_plain and os.access(place.parent, os.W_OK | os.X_OK)


def _make_alike(path, found):
    """Give a file the owner, as far as allowed, and the mode of another."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(path, found.st_uid, found.st_gid)
    os.chmod(path, stat.S_IMODE(found.st_mode))


def _move(source, place):
    try:
        os.replace(source, place)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        shutil.copyfile(source, place)  # a file that is mounted by itself, as in a container


def check_writable(name, path):
    """Refuse what cannot be written, before there is anything to write.

    Parameters
    ----------
    name : str
        What the argument is called.
    path : str or os.PathLike

    Raises
    ------
    TypeError
        If it is no path.
    IsADirectoryError, FileNotFoundError, PermissionError
        If it is a folder, in no folder, read-only, also to those who may write everything, or new
        in a folder that is read-only; also if it is a descriptor that is not open for writing.
    OSError
        If it is a socket.
    """
    check_path(path)
    path = Path(path)
    descriptor = _descriptor(path)
    if descriptor is not None:
        if not _is_open_for_writing(descriptor):
            raise PermissionError(f"{name} must be open for writing, {str(path)!r} is not")
        return
    shown, found, folder = repr(str(path)), _stat(path), Path(os.path.realpath(path)).parent
    if found is None:
        if not folder.is_dir():
            raise FileNotFoundError(f"{name} must be in an existing folder, got {shown}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(f"{name} must be in a folder that can be written, got {shown}")
        return
    mode = found.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{name} must be a file, {shown} is a folder")
    if stat.S_ISSOCK(mode):
        raise OSError(f"{name} must be a file, {shown} is a socket")
    if not (os.access(path, os.W_OK) and mode & 0o222):
        raise PermissionError(f"{name} must be a file that can be written, {shown} is read-only")


def _is_open_for_writing(descriptor):
    import fcntl  # of POSIX, as are names of descriptors

    try:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    except OSError:
        return False
    return flags & os.O_ACCMODE != os.O_RDONLY


def check_plain(name, path):
    """Refuse what is there and no plain file by name, which could not be read back."""
    found = _stat(path)
    is_plain = found is None or stat.S_ISREG(found.st_mode)
    if not is_plain or _descriptor(path) is not None:
        raise ValueError(f"{name} must be a plain file, {str(path)!r} is none")


def is_readable(path):
    """Whether there is a file or a pipe, and no folder or device."""
    found = _stat(path)
    return found is not None and (stat.S_ISREG(found.st_mode) or stat.S_ISFIFO(found.st_mode))


def check_path(path):
    """Refuse what is no path."""
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a string or a path, got {path!r}")
