"""Teams of as many threads as are asked for, and programs' rows in blocks of a few."""

from contextlib import contextmanager

from fastmlp import program_workspace, sweep
from fastmlp.kernels import threads


class AlwaysTogether:
    """Stands in for `Pace`: goes a chunk at a time, as a team where there is one."""

    def __init__(self, ways, seconds_alone=0.0):
        self._way = ways[0]

    def is_new(self, way):
        return False

    def next(self):
        return self._way, 0.0

    def learn(self, way, flops, seconds):
        pass

    def skip_to_trial(self, flops):
        return 0


def force_teams(monkeypatch, task_elements):
    """Have blocks of three rows, several to a group, and teams; return the set of those met."""
    monkeypatch.setattr(program_workspace, "GROUP_ROWS", 8)
    monkeypatch.setattr(program_workspace, "FEWEST_GROUP_ROWS", 4)
    monkeypatch.setattr(program_workspace, "BLOCK_BYTES", 1)
    monkeypatch.setattr(program_workspace, "FEWEST_BLOCK_ROWS", 3)
    monkeypatch.setattr(program_workspace, "TASK_ELEMENTS", task_elements)
    monkeypatch.setattr(sweep, "choose_parts", lambda flops, n_threads, *_: n_threads or 1)
    monkeypatch.setattr(sweep, "Pace", AlwaysTogether)
    # A busy machine may give a team fewer threads: the next one is tried all the same.
    monkeypatch.setattr(sweep, "no_teams", lambda: None)
    # And a test before this one may have met a busy machine, which counts for some seconds.
    monkeypatch.setitem(threads._state, "alone_until", 0.0)
    met = set()

    @contextmanager
    def region(n_parts):
        with threads.parallel_region(n_parts) as entered:
            if entered:
                met.add(n_parts)
            yield entered

    monkeypatch.setattr(sweep, "parallel_region", region)
    return met
