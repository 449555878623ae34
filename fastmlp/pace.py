"""How much to do in one compiled call, whether as a team, and what to compile for it: learned from
the calls before."""

# Seconds that one compiled call should take at most, so that Ctrl-C and limits are heeded soon.
CALL_SECONDS = 0.1

# Seconds that one call of several epochs should take. Many times what Python takes between two.
SLICE_SECONDS = 0.01

# The speed assumed before any call was timed; low, so that the first call ends early.
_FIRST_FLOPS_PER_SECOND = 1e9

# What takes no longer alone has no need of a team, and of what its first calls may cost: loading a
# kernel, waking threads, waiting for cores that others use.
SECONDS_ALONE = 0.02

# Each way is timed in so many calls before one is preferred: the fastest of them counts.
_FIRST_CALLS = 3

# The slower way is tried again after so many seconds, soon at first, as its first calls may have
# met with a busy core, then more rarely; for the tenth of a call, as where a team gets in its own
# way a short call of it may take a thousand times as long as one alone.
_FIRST_INTERVAL, _LAST_INTERVAL = 0.2, 3.0
_GROWTH = 3.0
_TRIAL = 0.1

# What is left of an old speed where a new one is lower: one interrupted call is no verdict.
_MEMORY = 0.8


def first_flops():
    """Floating-point operations to do in a call before any was timed."""
    return _FIRST_FLOPS_PER_SECOND * CALL_SECONDS


class Pace:
    """Learns how fast a sweep goes alone and as a team of threads, and picks the faster way.

    Small networks on a busy machine go many times faster alone, because a team waits at every
    barrier for the thread that has no core. Which way is taken changes no bit of the result.

    Parameters
    ----------
    ways : sequence of bool
        Those allowed, in the order to try them: True is as a team, False is alone.
    seconds_alone : float, default 0.0
        How long to go alone before a team is tried.
    """

    def __init__(self, ways, seconds_alone=0.0):
        self._ways = ways
        self._n_calls = dict.fromkeys(ways, 0)
        self._speeds = dict.fromkeys(ways, 0.0)
        self._seconds_since_trial = 0.0
        self._interval = _FIRST_INTERVAL  # from one trial to the next
        self._seconds_alone = seconds_alone  # that are left

    def is_new(self, way):
        """Whether no call was timed that way."""
        return self._n_calls[way] == 0

    def next(self):
        """The way to go and how many floating-point operations to do."""
        if self._seconds_alone > 0:
            seconds = min(self._seconds_alone, CALL_SECONDS)
            return False, max(first_flops(), self._speeds[False] * seconds)
        for way in self._ways:
            if self._n_calls[way] < _FIRST_CALLS:
                return way, first_flops()
        if len(self._ways) > 1 and self._seconds_since_trial >= self._interval:
            self._seconds_since_trial = 0.0
            self._interval = min(_GROWTH * self._interval, _LAST_INTERVAL)
            way = min(self._ways, key=self._speeds.__getitem__)
            return way, self._speeds[way] * CALL_SECONDS * _TRIAL
        way = max(self._ways, key=self._speeds.__getitem__)
        return way, self._speeds[way] * CALL_SECONDS

    def learn(self, way, flops, seconds):
        """Take down how long a call took."""
        self._n_calls[way] += 1
        self._speeds[way] = max(flops / max(seconds, 1e-7), _MEMORY * self._speeds[way])
        self._seconds_since_trial += seconds
        if not way:
            self._seconds_alone -= seconds

    def skip_to_trial(self, flops):
        """Go ahead to the next trial of the team, if that is far or the slower way, else stay.

        Returns
        -------
        int
            How many calls of so many floating-point operations are to be done alone until then.
        """
        alone, team = self._speeds[False], self._speeds[True]
        if self._seconds_alone > 0 and alone:
            seconds, self._seconds_alone = self._seconds_alone, 0.0
            return int(seconds * alone / flops)
        if min(self._n_calls.values()) < _FIRST_CALLS or team > alone:
            return 0
        seconds = self._interval - self._seconds_since_trial
        self._seconds_since_trial = self._interval
        return int(max(0.0, seconds) * alone / flops)


class Deferred:
    """Code that only saves time: compiled once a process has spent some without it.

    So what trains for less than the compiler would take is not kept waiting. Code that need not be
    compiled, as it is in the disk cache, is used from the start. No bit of a result depends on it.

    Parameters
    ----------
    seconds : float
        How much to spend without it.
    is_kept : callable
        Takes a dtype; whether its code need not be compiled.
    """

    def __init__(self, seconds, is_kept):
        self._seconds = seconds
        self._is_kept = is_kept
        self._spent = {}
        self._due = set()

    def seconds_left(self, dtype):
        """How much is still to be spent without it."""
        if dtype in self._due:
            return 0.0
        left = self._seconds - self._spent.get(dtype, 0.0)
        if left > 0 and not self._is_kept(dtype):
            return left
        self._due.add(dtype)  # to look for files takes long
        return 0.0

    def spend(self, dtype, seconds):
        """Take down what was spent without it."""
        self._spent[dtype] = self._spent.get(dtype, 0.0) + seconds
