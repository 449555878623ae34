"""Work on the blocks of a file by several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from fastmlp.kernels.threads import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

# Reading and taking apart, by one thread, keeps no more of them busy.
_MOST = 8


def map_in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results of a function for each item, in their order, computed ahead by a thread a core.

    No more items are taken ahead than there are threads, and one, so that memory is bounded.
    """
    n_threads = min(available_cores(), _MOST)
    if n_threads == 1:
        yield from map(function, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) > n_threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
