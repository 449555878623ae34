"""The strong Wolfe line search of Moré & Thuente, a trial at a time.

`begin_search` names the first step to try; whoever calls evaluates there and hands value and slope
to `next_trial`, which names the next one, until its verdict is another than ``TRY``. All that a
search knows is a record `records.SEARCH`.

The trial steps are those of MINPACK-2's dcsrch, see Moré & Thuente, ACM Transactions on
Mathematical Software 20:286-307 (1994), as SciPy's L-BFGS-B calls it.
"""

import math

from fastmlp.kernels._jit import entry, inline, part
from fastmlp.kernels.records import SEARCH
from fastmlp.kernels.view import record

# Verdicts on a search.
TRY = 0  # evaluate at ``search.step``
AT_TRIAL = 1  # the latest trial satisfies both conditions
AT_BEST = 2  # the best trial satisfies the first condition, and no other will do better
UNBOUNDED = 3  # it still falls at the largest step
LEVEL = 4  # no trial was lower, but for rounding, where the slope grew flatter
NOT_FINITE = 5  # no trial was finite
FAILED = 6
NO_DESCENT = 7  # the slope at the start is not negative

# Where a search stops to look for an end of the descent, as SciPy's does.
LARGEST_STEP = 1e10

# A bracket whose width is at most this part of its larger end is not searched any further.
_BRACKET_TOLERANCE = 0.1

# A slope of less than this part of the first shows that the gradient is right, if values cannot.
FLATTER = 0.9

# How much nearer to the best step so far the trial after a non-finite one is.
_RETREAT = 0.1


@entry
def search_step(numbers, begins, value, slope, first_step):
    """Do `begin_search` or `next_trial`, for who searches in Python.

    Parameters
    ----------
    numbers : float64 vector
        Memory of a record `records.SEARCH`, overwritten.
    begins : bool
    value, slope : float
    first_step : float
        Of a search that begins.

    Returns
    -------
    (int, float, bool)
        The verdict, the step to try if it is ``TRY``, and whether the trial is the best so far.
    """
    search = record(numbers, 0, SEARCH)
    if begins:
        verdict = begin_search(search, value, slope, first_step)
    else:
        verdict = next_trial(search, value, slope)
    return verdict, search.step, search.improves == 1


@inline
def begin_search(search, value, slope, first_step):
    """Begin a search where value and slope are these; return ``TRY`` or ``NO_DESCENT``.

    Overwrites all of the record but for c1, c2, resolution and most_trials.
    """
    first_step = LARGEST_STEP if first_step > LARGEST_STEP else first_step
    search.n_trials = 0
    search.improves = 0
    search.falls = 1
    search.bracketed = 0
    search.above = 1
    search.any_not_finite = 0
    search.any_change = 0
    search.any_level = 0
    search.value = value
    search.slope = slope
    search.first_step = first_step
    search.step = first_step
    search.best_step = 0.0
    search.best_value = value
    search.step_x = 0.0
    search.value_x = value
    search.slope_x = slope
    search.step_y = 0.0
    search.value_y = value
    search.slope_y = slope
    search.low = 0.0
    search.high = math.inf
    search.largest = LARGEST_STEP
    search.width = LARGEST_STEP
    search.older_width = 2.0 * LARGEST_STEP
    return TRY if slope < 0.0 else NO_DESCENT


@part
def next_trial(search, value, slope):
    """Take down what is at ``search.step``; return the verdict, with the next step in its place.

    A trial whose value or slope is not finite is followed by a much shorter one.
    """
    step, goes_on = search.step, True
    search.n_trials += 1
    search.improves = 0
    if math.isfinite(value) and math.isfinite(slope):
        if value < search.best_value:
            search.best_step = step
            search.best_value = value
            search.improves = 1
        change, size = abs(value - search.value), abs(search.value)
        if change > 0.0:
            search.any_change = 1
        rounding = 4.0 * search.resolution * (size if size > 1.0 else 1.0)
        if change <= rounding and abs(slope) <= FLATTER * -search.slope:
            search.any_level = 1
        enough = search.value + step * (search.c1 * search.slope)
        if value <= enough and abs(slope) <= search.c2 * -search.slope:
            return AT_TRIAL
        goes_on = _next_step(search, step, value, slope)
    else:
        search.any_not_finite = 1
        if not search.bracketed:
            search.largest = search.step_x + 0.5 * (step - search.step_x)
        search.step = search.step_x + _RETREAT * (step - search.step_x)
    if goes_on and search.n_trials < search.most_trials:
        return TRY
    return _verdict(search)


@inline
def _verdict(search):
    """The verdict on a search that has no other trial to come."""
    best_step, best_value = search.best_step, search.best_value
    first_step = search.first_step if search.first_step < 1.0 else 1.0
    if search.falls and best_step >= LARGEST_STEP * first_step:
        return UNBOUNDED
    lower = best_value < search.value
    if lower and best_value <= search.value + search.c1 * best_step * search.slope:
        return AT_BEST
    if search.any_level:
        return LEVEL
    # The shortest of trials may be finite because they are the start, but for rounding.
    return NOT_FINITE if search.any_not_finite and not search.any_change else FAILED


@inline
def _next_step(search, step, value, slope):
    """Choose the next step after a finite trial; return whether there is one."""
    required = search.c1 * search.slope
    enough = value <= search.value + step * required
    search.falls = 1 if enough and slope <= required else 0
    if search.falls and step == search.largest:
        return False
    if search.high == math.inf:
        search.high = 5.0 * step
    if search.above and enough and slope >= 0.0:
        search.above = 0
    # While a lower value is not low enough, the search is for a minimizer of the value above the
    # line of sufficient decrease.
    tilt = required if search.above and not enough and value <= search.value_x else 0.0
    step = _interpolate(search, step, value, slope, tilt)
    x, y = search.step_x, search.step_y
    if not search.bracketed:
        search.low = step + 1.1 * (step - x)
        search.high = step + 4.0 * (step - x)
        step = search.largest if search.largest < step else step
        search.step = step
        return step != x
    if abs(y - x) >= 0.66 * search.older_width:
        step = x + 0.5 * (y - x)
    low, high = (x, y) if x < y else (y, x)
    search.older_width = search.width
    search.width = high - low
    search.low = low
    search.high = high
    search.step = step
    return high - low > _BRACKET_TOLERANCE * high and low < step < high


@inline
def _interpolate(search, step, value, slope, tilt):
    """Do MINPACK-2's dcstep: move the ends of the interval, return a safeguarded new step.

    It sees values and slopes less those of the line through 0 of slope `tilt`. Comparisons are
    spelled out, as NaN must come through to the end.
    """
    x, y = search.step_x, search.step_y
    f, d = value - step * tilt, slope - tilt
    f_x, d_x = search.value_x - x * tilt, search.slope_x - tilt
    f_y, d_y = search.value_y - y * tilt, search.slope_y - tilt
    turned = d * d_x < 0.0
    if f > f_x:
        # Bracketed. The cubic step if it is nearer to x, else halfway to the quadratic one.
        search.bracketed = 1
        new, _ = _cubic(x, f_x, d_x, step, f, d)
        quadratic = x + d_x / ((f_x - f) / (step - x) + d_x) / 2.0 * (step - x)
        if not abs(new - x) <= abs(quadratic - x):
            new = new + (quadratic - new) / 2.0
    elif turned:
        # Bracketed. The longer of the cubic and the secant step.
        search.bracketed = 1
        cubic, _ = _cubic(step, f, d, x, f_x, d_x)
        new = step + d / (d - d_x) * (x - step)
        if abs(cubic - step) > abs(new - step):
            new = cubic
    elif abs(d) < abs(d_x):
        # It falls less steeply than before. The cubic may have no minimizer further on.
        cubic, exists = _cubic(step, f, d, x, f_x, d_x)
        if not exists or (cubic > step) != (step > x):
            cubic = search.high if step > x else search.low
        new = step + d / (d - d_x) * (x - step)
        if search.bracketed:
            if abs(cubic - step) < abs(new - step):
                new = cubic
            limit = step + 0.66 * (y - step)
            goes_beyond = not new < limit if step > x else not new > limit
            new = limit if goes_beyond else new
        else:
            if abs(cubic - step) > abs(new - step):
                new = cubic
            new = search.low if search.low > new else new
            new = search.high if search.high < new else new
    elif search.bracketed:
        new, _ = _cubic(step, f, d, y, f_y, d_y)
    else:
        new = search.high if step > x else search.low
    if f > f_x:
        search.step_y = step
        search.value_y = value
        search.slope_y = slope
    else:
        if turned:
            search.step_y = x
            search.value_y = search.value_x
            search.slope_y = search.slope_x
        search.step_x = step
        search.value_x = value
        search.slope_x = slope
    if math.isnan(new):  # the values are so large that their differences overflow
        new = 0.5 * (search.step_x + search.step_y)
    return new


@part
def _cubic(a, f_a, d_a, b, f_b, d_b):
    """Where the cubic through two points with these values and slopes has its minimizer.

    Also whether it has one; if not, it is where its slope is least.
    """
    theta = 3.0 * (f_a - f_b) / (b - a) + d_a + d_b
    scale = abs(theta)
    scale = abs(d_a) if abs(d_a) > scale else scale
    scale = abs(d_b) if abs(d_b) > scale else scale
    ratio = theta / scale
    square = ratio * ratio - d_a / scale * (d_b / scale)
    gamma = scale * math.sqrt(square if square > 0.0 else 0.0)
    if b < a:
        gamma = -gamma
    p = gamma - d_a + theta
    q = gamma - d_a + gamma + d_b
    return (a + p / q * (b - a) if q != 0.0 else math.nan), gamma != 0.0
