"""How much to do in one compiled call, and whether as a team: learned from the calls before."""

# Seconds that one compiled call should take at most, so that Ctrl-C and limits are heeded soon.
CALL_SECONDS = 0.1

# The speed assumed before any call was timed; low, so that the first call ends early.
_FIRST_FLOPS_PER_SECOND = 1e9

# The slower way is tried again after so many calls, for the tenth of a call.
_CALLS_BETWEEN_TRIALS = 32
_TRIAL = 0.1

# What is left of an old speed where a new one is lower: one interrupted call is no verdict.
_MEMORY = 0.8


class Pace:
    """Learns how fast a sweep goes alone and as a team of threads, and picks the faster way.

    Small networks on a busy machine go many times faster alone, because a team waits at every
    barrier for the thread that has no core. Which way is taken changes no bit of the result.

    Parameters
    ----------
    ways : sequence of bool
        Those allowed: True is as a team, False is alone.
    """

    def __init__(self, ways):
        self._ways = ways
        self._speeds: dict[bool, float] = {}
        self._calls = 0

    @property
    def unknown(self):
        """The ways not timed yet."""
        return [way for way in self._ways if way not in self._speeds]

    def next(self):
        """The way to go and how many floating-point operations to do."""
        if self.unknown:
            return self.unknown[0], _FIRST_FLOPS_PER_SECOND * CALL_SECONDS
        way = max(self._ways, key=self._speeds.__getitem__)
        share = 1.0
        self._calls += 1
        if len(self._ways) > 1 and self._calls % _CALLS_BETWEEN_TRIALS == 0:
            way, share = min(self._ways, key=self._speeds.__getitem__), _TRIAL
        return way, self._speeds[way] * CALL_SECONDS * share

    def learn(self, way, flops, seconds):
        """Take down how long a call took."""
        speed = flops / max(seconds, 1e-7)
        self._speeds[way] = max(speed, _MEMORY * self._speeds.get(way, 0.0))
