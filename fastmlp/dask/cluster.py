"""The workers that hold the parts, as a `map` for `fit_parts`."""

import functools

import dask
import distributed

from fastmlp.part_tasks import about


def find_client(client):
    """The client to work with: the one given, or the one that is there."""
    if client is None:
        try:
            client = distributed.get_client()
        except ValueError:
            raise ValueError(
                "client must be given, or there must be one: distributed.Client() makes one, and "
                "a cluster on this machine, got None"
            ) from None
    if not isinstance(client, distributed.Client):
        raise TypeError(f"client must be a distributed.Client, got {type(client).__name__}")
    _check_is_running(client)
    if client.asynchronous:
        raise ValueError(
            "client must not be asynchronous, for a fit waits for its outcome: use one of "
            "asynchronous=False, which notebooks have by default"
        )
    return client


def _check_is_running(client):
    if client.status != "running":
        raise ValueError(f"client must be running, got one whose status is {client.status!r}")


class Cluster:
    """Parts in the memory of workers, and the `map` that goes where they are.

    Parameters
    ----------
    client : distributed.Client
    prepare : callable
        ``prepare(X, y, sample_weight)`` makes a part of a partition, once.
    partitions : list of tuple
        As `blocks.partitions` returns them.

    Raises
    ------
    Exception
        What `prepare` raises, with the part's number, and what a partition raises that is
        computed.
    """

    def __init__(self, client, prepare, partitions):
        self._client = client
        self._calls = []
        tasks = [
            dask.delayed(_prepare, pure=False)(prepare, number, *partition)
            for number, partition in enumerate(partitions)
        ]
        self._take(client.compute(tasks))

    def _take(self, parts):
        # Not by `distributed.wait`, which goes by the current client: to make that ours for a
        # moment would change Dask's settings under whoever else fits meanwhile.
        for part in parts:
            if part.exception() is not None:
                part.result()  # raises
        self.parts = parts

    def ask(self, function):
        """What a function of a part gives, for each of them, in order."""
        return self._client.gather(self._client.map(function, self.parts, pure=False))

    def change(self, prepare):
        """Take in the place of each part what ``prepare(*part)`` makes of it."""
        numbers = range(len(self.parts))
        self._take(
            self._client.map(functools.partial(_change, prepare), numbers, self.parts, pure=False)
        )

    def __call__(self, task, items):
        """Yield ``task(item)`` for each (number, loader): `fit_parts` takes this for `map`.

        There is one task for each worker that holds parts, and it gives a result for each of them.
        It may go elsewhere: then Dask has lost the worker, and computes its parts anew. The task
        itself goes with it, not by `scatter`, which nobody could do anew.
        """
        _check_is_running(self._client)
        numbers = [number for number, _ in items]
        calls = []
        for worker, group in self._by_worker(numbers).items():
            parts = [self.parts[number] for number in group]
            where = {} if worker is None else {"workers": [worker], "allow_other_workers": True}
            with dask.annotate(**where):
                calls.append(dask.delayed(_run, pure=False)(task, group, *parts))
        # One graph for all, in which the network goes to the scheduler once.
        futures = self._client.compute(calls, optimize_graph=False)
        # Those before are let go now: a client's message waits for 10 ms after the one before it.
        self._calls = futures
        results: dict = {}
        for group in self._client.gather(futures):
            results |= group
        for number in numbers:
            yield results[number]

    def _by_worker(self, numbers):
        """Which parts each worker is to do; under None those that nobody holds just now."""
        holders = self._client.who_has(self.parts)
        groups: dict = {}
        for number in numbers:
            workers = holders.get(self.parts[number].key) or (None,)
            fewest = min(workers, key=lambda worker: len(groups.get(worker, ())))
            groups.setdefault(fewest, []).append(number)
        return groups


def _prepare(prepare, number, X, y, sample_weight):
    with about(number):
        return prepare(X, y, sample_weight)


def _change(prepare, number, part):
    with about(number):
        return prepare(*part)


def _run(task, numbers, *parts):
    """What a worker does: the task for each of its parts, with as many threads as it has."""
    n_threads = distributed.get_worker().state.nthreads
    return {
        number: task((number, functools.partial(_same, part)), n_threads)
        for number, part in zip(numbers, parts, strict=True)
    }


def _same(part):
    return part
