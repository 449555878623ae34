"""Windowed: rows in random order, of which only a window is in memory at a time."""

from dataclasses import dataclass

from fastmlp.validation import check_count

# Bytes of a window's rows at most, where nobody says how many blocks it has. There are two: one
# that is trained on, and one that is read.
WINDOW_BYTES = 1 << 27

# Bytes of the rows that are in memory where they are read as they lie: enough for a call of a
# kernel to be long, little beside all else.
BLOCK_BYTES = 1 << 25


@dataclass(frozen=True)
class Windowed:
    """Random order of rows that are read a window at a time: a value of `shuffle`.

    The rows are cut into blocks, and the blocks into as many equal stretches as a window has
    blocks. A window takes a random block of each stretch, and shuffles the rows of all of them
    together. So each window has rows of the whole file, and yet reads them in runs. The next window
    takes other blocks, and after the last one each row was there once.

    Parameters
    ----------
    block : int, default 128
        Rows that lie together and enter a window together. More are read faster from where each
        access takes long, or where a whole chunk is decompressed for one row of it: take the rows
        of a chunk then. Fewer mix better where neighbouring rows are alike.
    blocks : int or None, default None
        Blocks in a window, at most. None is as many as take 128 MB in the network's dtype, so
        that smaller data are shuffled as a whole.

    Raises
    ------
    ValueError, TypeError
        For numbers that are no integers of at least 1.

    Notes
    -----
    The order follows from `seed`, the number of rows, and the rows in a block and in a window;
    not from memory, threads or how a file is stored. If all rows fit in one window, it is the
    order of ``shuffle=True`` for an array. Shuffling by windows of blocks is also how the
    libraries for streamed data sets do it, such as Mosaic Streaming ("py1br").

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp
    >>> X = np.random.default_rng(0).normal(size=(10_000, 8)).astype("float32")
    >>> order = fastmlp.Windowed(block=100, blocks=10)  # 1,000 rows in memory at a time
    >>> result = fastmlp.MLP([8, 16, 1], seed=0).fit(X, X[:, 0], shuffle=order, epochs=2, seed=0)
    >>> result.n_iter
    2
    """

    block: int = 128
    blocks: int | None = None

    def __post_init__(self):
        check_count("block", self.block)
        if self.blocks is not None:
            check_count("blocks", self.blocks)

    def count_blocks(self, row_bytes: int) -> int:
        """Blocks in a window, at most, of rows of so many bytes."""
        if self.blocks is not None:
            return int(self.blocks)
        return max(1, WINDOW_BYTES // (row_bytes * int(self.block)))
