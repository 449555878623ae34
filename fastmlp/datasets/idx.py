"""Read IDX, the array format of the MNIST files."""

import math
import os
from typing import Any, BinaryIO

import numpy as np

from fastmlp.datasets.reading import open_data

# Third byte of the file; elements are stored big-endian.
_DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_BLOCK_BYTES = 1 << 20


def load_idx(path: str | os.PathLike[str] | BinaryIO) -> np.ndarray:
    """Read an IDX file, compressed or not, into an array.

    Parameters
    ----------
    path : str, os.PathLike or binary file
        The file, plain or compressed by gzip, bzip2 or xz: its first bytes tell, not its name.
        It is read once, so it may be a pipe; what is open already is left open.

    Returns
    -------
    ndarray
        C-contiguous and writable, with the shape the file names and its element type in native
        byte order: uint8, int8, int16, int32, float32 or float64. Values are not scaled: MNIST's
        images come as uint8, shape (n, 28, 28), and its labels as uint8, shape (n,).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not IDX, is shorter or longer than its header says, or is compressed and
        damaged, or compressed in another way.

    Notes
    -----
    The format is that of Y. LeCun, C. Cortes and C. J. C. Burges, "The MNIST database of
    handwritten digits": two zero bytes, a type code, the number of dimensions, each dimension as
    a big-endian 32-bit integer, then the elements, the last index running fastest.

    Examples
    --------
    >>> from pathlib import Path
    >>> import fastmlp
    >>> header = bytes([0, 0, 8, 1, 0, 0, 0, 3])  # bytes, of one axis, of 3 elements
    >>> written = Path("labels").write_bytes(header + bytes([7, 2, 1]))
    >>> fastmlp.datasets.load_idx("labels")
    array([7, 2, 1], dtype=uint8)
    """
    with open_data(path) as (file, source):
        magic = file.read(4)
        if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES:
            codes = ", ".join(f"{code:02x}" for code in _DTYPES)
            raise ValueError(
                f"{source} is not an IDX file: its first bytes are [{magic.hex(' ')}], but "
                f"IDX begins with 00 00, a type code ({codes}) and the number of dimensions"
            )
        dtype, n_dims = _DTYPES[magic[2]], magic[3]
        dims = file.read(4 * n_dims)
        if len(dims) < 4 * n_dims:
            raise ValueError(
                f"{source} is an IDX file that is truncated: a header of {n_dims} dimensions "
                f"takes {4 + 4 * n_dims} bytes, but it holds {4 + len(dims)}"
            )
        shape = tuple(np.frombuffer(dims, ">u4").tolist())
        expected = math.prod(shape) * dtype.itemsize

        # The header may promise anything, so memory grows with the bytes that really come. The
        # one byte more tells an over-long file, and takes a gzip stream to its checksum.
        data = bytearray()
        while block := file.read(min(_BLOCK_BYTES, expected + 1 - len(data))):
            data += block

    if len(data) != expected:
        fault = "truncated" if len(data) < expected else "longer than its header says"
        found = len(data) if len(data) < expected else f"more than {expected}"
        raise ValueError(
            f"{source} is an IDX file that is {fault}: shape {shape} of {dtype.name} takes "
            f"{expected} bytes of data, but it holds {found}"
        )
    try:
        array = np.frombuffer(data, dtype).reshape(shape)
    except ValueError as error:  # more dimensions, or a larger empty shape, than NumPy can hold
        raise ValueError(f"{source} has the IDX shape {shape}: {error}") from error
    return array.astype(dtype.newbyteorder("="), copy=False)
