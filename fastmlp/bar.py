"""A progress bar: how far something has come, and how fast."""

import sys
import time
from contextlib import contextmanager

# Of a bar that counts seconds, whose rate would be one second in a second. Those left are by the
# clock on the wall, which what is off the runs' clock takes time of, too.
_SECONDS = "{l_bar}{bar}| {n:.1f}/{total:.1f} s [{remaining} left{postfix}]"


class Bar:
    """A line of a terminal, or a widget of a notebook, by tqdm.

    Where there is no standard error, or it cannot be written any more, there is no bar: what is
    counted goes on.

    Parameters
    ----------
    unit : str
        What is counted, in the singular; "s" is seconds.
    total : float or None
        What there is to come.
    title : str, default ""
    position : int or None, default None
        The line below the cursor; bars that pause may share one. None is one of its own.
    """

    def __init__(self, unit, total, title="", position=None):
        from tqdm.auto import tqdm

        self._bar = tqdm(disable=True)
        self._pauses = False
        if sys.stderr is None:
            return
        with self._drawing():
            # With miniters=1 tqdm looks at the clock at every step, so that none is held back, and
            # never redraws a bar that pauses.
            self._bar = tqdm(
                total=total,
                unit=unit,
                desc=title,
                position=position,
                miniters=1,
                dynamic_ncols=True,
                bar_format=_SECONDS if unit == "s" else None,
            )

    @contextmanager
    def _drawing(self):
        """Give up the bar where it cannot be written."""
        try:
            yield
        except OSError:
            self._bar.disable = True

    @property
    def n(self) -> float:
        """What has been counted."""
        return self._bar.n

    def start_at(self, n) -> None:
        """Begin with what was counted before, which is no part of the rate."""
        self._bar.initial = self._bar.n = self._bar.last_print_n = n
        with self._drawing():
            self._bar.refresh()

    def show(self, n, **shown) -> None:
        """Show what has been counted by now, and other texts by their names."""
        self._bar.set_postfix(shown, refresh=False)
        with self._drawing():
            self._bar.update(n - self._bar.n)

    def expect(self, total) -> None:
        """Change what there is to come, as where something ends before it."""
        self._bar.total = total

    def pause(self) -> None:
        """Stop the clock, and make the line free for others."""
        self._bar.last_print_t = time.time()  # from which `unpause` goes on
        with self._drawing():
            self._bar.clear()
        self._pauses = True

    def resume(self) -> None:
        """Go on after a pause."""
        if self._pauses:
            with self._drawing():
                self._bar.unpause()
                self._bar.refresh()
            self._pauses = False

    def close(self) -> None:
        """Leave the line as it is, with the rate over all, and go to the next."""
        self.resume()
        with self._drawing():
            self._bar.close()
