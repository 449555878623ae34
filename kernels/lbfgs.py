"""Limited-memory BFGS: its iteration, step by step, and the history of pairs.

The iteration asks for evaluations and is told their results, so that it goes with any function:
from Python by `advance`, or without a way back to Python, see `minimization`. It alternates between
decisions (`decide`), which take numbers, and jobs (`work`), which take vectors. A job goes through
vectors in blocks of `BLOCK` elements, each with sums of its own, which `decide` adds up in order.
So parts of a team may share the blocks, and bits do not depend on them.

All of a run is in its memory, one float64 vector: a record `records.RUN`, one of `records.SEARCH`,
then what the first one says. `new_run` in fastmlp/solvers/lbfgs_run.py makes it.

-H g, H the inverse Hessian by the history, is a combination of the pairs and g. Its factors follow
from inner products alone: the two loops of Nocedal (Mathematics of Computation 35:773-782, 1980) on
numbers instead of vectors, as of Chen, Wang & Zhou, "Large-scale L-BFGS using MapReduce", NIPS
2014. So an iteration goes through the pairs twice, with many sums side by side, where two loops on
vectors wait for each sum before they begin the next. The products with the latest y and g are
computed anew, none from differences of others.

The history has one row more than it may hold pairs, so that a pair is formed, and tested, in a row
that no pair is in. Rows are taken in turn.

With bounds, or for l1, the iteration is Python's, with `two_loop_of_free` on vectors.
"""

import math
from typing import NamedTuple

import numpy as np

from fastmlp.kernels._jit import entry, inline, loop, part
from fastmlp.kernels.denormals import flush_denormals, restore_denormals
from fastmlp.kernels.line_search import (
    AT_BEST,
    AT_TRIAL,
    LEVEL,
    TRY,
    UNBOUNDED,
    begin_search,
    next_trial,
)
from fastmlp.kernels.moments import pair_products
from fastmlp.kernels.records import RUN, SEARCH
from fastmlp.kernels.reductions import inner
from fastmlp.kernels.view import matrix, record, reinterpreted, vector
from fastmlp.kernels.views import point_of

# Elements of a block. Those of x, g and d and of a row each of S and Y stay in the first cache.
BLOCK = 512

# Jobs, in the order of an iteration. `decide` asks for the next one when one is done.
ITERATE = 0  # nothing: the iteration is over, or not yet begun
DIRECT = 1  # form the direction
STEP = 2  # form the trial's x
EVALUATE = 3  # whoever calls: evaluate at the trial's x
MEASURE = 4  # find the trial's slope
LEARN = 5  # form the pair of the step that is taken, and all products with it
FAIL = 6  # nothing: there is no way on; the outcome says why
PAUSE = 7  # nothing: before an evaluation, which is next

# The outcome besides the verdicts of `line_search`: the objective is finite, x is not.
X_NOT_FINITE = 8

# Sums of a block: the slope; or what a step changes, then products for each row of the history.
SLOPE = 0
SQUARED_STEP, SQUARED_GRADIENT, LARGEST_GRADIENT, MOVES = range(4)
FIRST_PRODUCT = 4
N_PRODUCTS = 4  # s'y, s'g, y'y, y'g with the latest y and g

# Tables of products: s_i'y_j, where no i is later than j, and y_i'y_j. Columns with a number for
# each row of the history: s'g, y'g, and the factors of s and y in the direction.
SY, YY = range(2)
N_TABLES = 2
SG, YG, OF_S, OF_Y = range(4)
N_COLUMNS = 4

# Iterations that a run takes down for whoever calls, and what of each.
MOST_TRACED = 256
SECONDS, EVALUATIONS, VALUE, SQUARED_NORM = range(4)
N_TRACED = 4

_SEARCH_AT = len(RUN.names)  # in the memory
_SIZE_BITS = 0x7FFFFFFFFFFFFFFF  # of a float64 without its sign
_INTEGERS = np.dtype(np.int64)

# A pair is kept if s'y is more than this part of |s| |y|: else rounding may have made its sign.
SMALLEST_COSINE = np.finfo(np.float64).eps


class History(NamedTuple):
    """Pairs of a step and a difference of gradients, see `add_pair`."""

    S: np.ndarray  # (n_rows, n), of each pair the step s
    Y: np.ndarray  # (n_rows, n), of each pair the difference y of the gradients
    curvatures: np.ndarray  # (n_rows,), of each pair s'y
    last: int  # row of the latest pair; before row 0 comes the last row
    count: int  # number of pairs, of which the others are in the rows before


@loop
def difference(x, y, result):
    """Overwrite `result` by x - y."""
    for i in range(result.size):
        result[i] = x[i] - y[i]


@loop
def step_along(x, step, direction, result):
    """Overwrite `result` by x + step times direction."""
    for i in range(result.size):
        result[i] = x[i] + step * direction[i]


@loop
def scaled(x, factor, result):
    """Overwrite `result` by factor times x."""
    for i in range(result.size):
        result[i] = factor * x[i]


@loop
def add_combination(x, a, s, b, y):
    """Add a times s plus b times y to x."""
    for i in range(x.size):
        x[i] += a * s[i] + b * y[i]


@loop
def largest_size(bits):
    """Return the largest absolute value of some finite float64 as its bits, given theirs as int64.

    Sizes are ordered as their bits are, and the largest integer is found in any order.
    """
    most = 0
    for i in range(bits.size):
        size = bits[i] & _SIZE_BITS
        most = size if size > most else most
    return most


@loop
def count_moves(step, x, tolerance):
    """Count elements of a step to x that exceed `tolerance` times the larger of x's size and 1."""
    n = 0
    for i in range(step.size):
        size = abs(x[i])
        n += abs(step[i]) > tolerance * (size if size > 1.0 else 1.0)
    return n


@loop
def masked_inner(x, y, mask):
    """Inner product of two vectors where `mask` is 1, not 0, in the order of `reductions.inner`."""
    a = b = c = d = e = f = g = h = 0.0
    whole = x.size // 8 * 8
    for i in range(0, whole, 8):
        a += x[i] * y[i] * mask[i]
        b += x[i + 1] * y[i + 1] * mask[i + 1]
        c += x[i + 2] * y[i + 2] * mask[i + 2]
        d += x[i + 3] * y[i + 3] * mask[i + 3]
        e += x[i + 4] * y[i + 4] * mask[i + 4]
        f += x[i + 5] * y[i + 5] * mask[i + 5]
        g += x[i + 6] * y[i + 6] * mask[i + 6]
        h += x[i + 7] * y[i + 7] * mask[i + 7]
    for i in range(whole, x.size):
        a += x[i] * y[i] * mask[i]
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@loop
def add_scaled_masked(x, factor, y, mask):
    """Add `factor` times the vector `y` to `x` where `mask` is 1, not 0."""
    for i in range(x.size):
        x[i] += factor * y[i] * mask[i]


@entry
def add_pair(S, Y, curvatures, row, old_x, x, old_gradient, gradient):
    """Form the pair s = x - old_x, y = gradient - old_gradient in a row of the history.

    Parameters
    ----------
    S, Y : (n_rows, n) float64
        Row `row` of each is overwritten.
    curvatures : (n_rows,) float64
        s'y of each row; that of `row` is overwritten.
    row : int
    old_x, x, old_gradient, gradient : (n,) float64
        Read.

    Returns
    -------
    float
        s'y / y'y, a measure of the inverse Hessian, or 0 if s'y is not clearly positive: then
        the row holds no pair.
    """
    s, y = S[row], Y[row]
    difference(x, old_x, s)
    difference(gradient, old_gradient, y)
    curvature, squared_s, squared_y = inner(s, y), inner(s, s), inner(y, y)
    curvatures[row] = curvature
    if not curvature > SMALLEST_COSINE * np.sqrt(squared_s) * np.sqrt(squared_y):
        return 0.0
    return curvature / squared_y


@entry
def two_loop_of_free(history, scale, gradient, free, direction):
    """Do what `two_loop` does with some components alone of gradient, pairs and direction.

    Parameters
    ----------
    history, scale, gradient
        As of `two_loop`; `scale` is for a history without a pair of clearly positive s'y.
    free : (n,) float64
        1 for the components that take part, else 0; read.
    direction : (n,) float64
        Overwritten, by 0 where a component does not take part.
    """
    S, Y, curvatures, last, count = history
    n_rows = S.shape[0]
    weights = np.empty(n_rows)
    of_free = np.empty(n_rows)
    scaled = False
    for i in range(direction.size):
        direction[i] = -gradient[i] * free[i]
    for age in range(count):
        row = (last - age) % n_rows
        s, y = S[row], Y[row]
        of_free[row] = masked_inner(s, y, free)
        if of_free[row] > SMALLEST_COSINE * curvatures[row]:
            if not scaled:
                scale = of_free[row] / masked_inner(y, y, free)
                scaled = True
            weights[row] = inner(s, direction) / of_free[row]
            add_scaled_masked(direction, -weights[row], y, free)
    for i in range(direction.size):
        direction[i] *= scale
    for age in range(count - 1, -1, -1):
        row = (last - age) % n_rows
        if of_free[row] > SMALLEST_COSINE * curvatures[row]:
            correction = weights[row] - inner(Y[row], direction) / of_free[row]
            add_scaled_masked(direction, correction, S[row], free)


@entry
def advance(memory, value):
    """Go on with a run, for who evaluates in Python.

    Parameters
    ----------
    memory : float64 vector
        See above. Where the last call has asked for an evaluation, the gradient at the trial's x is
        in its place. All but the point that the run is at, and the pairs, may be overwritten.
    value : float
        At the trial's x.

    Returns
    -------
    int
        ``EVALUATE``, ``ITERATE`` after an iteration, or ``FAIL``.
    """
    before = flush_denormals()
    run = record(memory, 0, RUN)
    run.trial_value = value
    while True:
        decide(memory)
        if run.job in (EVALUATE, ITERATE, FAIL):
            break
        work(memory, 0, run.n_blocks)
    restore_denormals(before)
    return run.job


@part
def decide(memory):
    """Choose the next job of a run, given that the last one is done."""
    run, search = record(memory, 0, RUN), record(memory, _SEARCH_AT, SEARCH)
    job = run.job
    if job == ITERATE:
        _choose_direction(memory, run)
    elif job == DIRECT:
        slope, first_step = _total(memory, run, SLOPE), 1.0
        if run.scale == 0.0 and slope < 0.0:
            # A change of Euclidean norm 1 while there is no scale to go by: the direction is -g.
            first_step = 1.0 / math.sqrt(-slope)
        run.best = run.at
        run.trial = (run.at + 1) % 3
        _follow(memory, run, begin_search(search, run.value, slope, first_step))
    elif job in (STEP, PAUSE):
        run.job = EVALUATE
    elif job == EVALUATE:
        run.job = MEASURE
    elif job == MEASURE:
        verdict = next_trial(search, run.trial_value, _total(memory, run, SLOPE))
        if search.improves:
            run.best = run.trial
        if verdict == TRY:
            run.trial = (run.at + 1) % 3 if run.best == run.at else 3 - run.at - run.best
        _follow(memory, run, verdict)
    elif job == LEARN:
        _take_point(memory, run)


@inline
def _follow(memory, run, verdict):
    """Choose the next job by a verdict on the search.

    Where it found no lower point, the history is dropped for another search along -g; if there is
    none to drop, the run ends. From a point that is lower, though not by enough, it goes on.
    """
    search = record(memory, _SEARCH_AT, SEARCH)
    run.outcome = verdict
    if verdict == TRY:
        run.job = STEP
    elif verdict in (AT_TRIAL, AT_BEST) or search.best_value < search.value:
        run.taken = run.trial if verdict == AT_TRIAL else run.best
        run.taken_value = run.trial_value if verdict == AT_TRIAL else search.best_value
        run.job = LEARN
    elif run.count > 0:
        run.count = 0
        _choose_direction(memory, run)
    else:
        run.job = FAIL


@part
def _choose_direction(memory, run):
    """Find the factors of -H g, the two loops on numbers, for the job ``DIRECT``."""
    n_rows, last, count = run.n_rows, run.last, run.count
    run.job = DIRECT
    scale = run.scale if run.scale != 0.0 else 1.0
    run.factor = -scale
    sy, yy = _table(memory, run, SY), _table(memory, run, YY)
    of_s, of_y = _column(memory, run, OF_S), _column(memory, run, OF_Y)
    sg, yg = _column(memory, run, SG), _column(memory, run, YG)
    for age in range(count):
        i = (last - age) % n_rows
        product = -sg[i]
        for newer in range(age):
            j = (last - newer) % n_rows
            product += of_y[j] * sy[i, j]
        of_y[i] = -product / sy[i, i]
    for age in range(count - 1, -1, -1):
        i = (last - age) % n_rows
        product = -yg[i]
        for j in range(n_rows):
            if (last - j) % n_rows < count:
                product += of_y[j] * yy[i, j]
        product *= scale
        for older in range(count - 1, age, -1):
            k = (last - older) % n_rows
            product += of_s[k] * sy[k, i]
        of_s[i] = -of_y[i] - product / sy[i, i]
    for i in range(n_rows):
        of_y[i] *= scale


@inline
def _table(memory, run, which):
    """View of a table of products, a matrix."""
    return matrix(memory, run.tables + which * run.n_rows * run.n_rows, run.n_rows, run.n_rows)


@inline
def _column(memory, run, which):
    """View of numbers of which each row of the history has one, a vector."""
    return vector(memory, run.columns + which * run.n_rows, run.n_rows)


@inline
def _total(memory, run, which):
    """One of the sums over all blocks."""
    total = 0.0
    for block in range(run.n_blocks):
        total += memory[run.sums + block * run.n_sums + which]
    return total


@part
def _take_point(memory, run):
    """Go to the point that is taken, and add the pair to the history if it has curvature.

    After a search that has failed there is no pair, and what was learnt is dropped; that it went
    no further does not say that it has converged. It may have, where values are too inaccurate to
    show a fall.
    """
    n_rows, new = run.n_rows, (run.last + 1) % run.n_rows
    totals = vector(memory, run.totals, run.n_sums)
    for which in range(run.n_sums):
        totals[which] = _total(memory, run, which)
    largest, moves = 0.0, 0.0
    for block in range(run.n_blocks):
        start = run.sums + block * run.n_sums
        of_block = memory[start + LARGEST_GRADIENT]
        largest = of_block if of_block > largest else largest
        moves += memory[start + MOVES]
    squared_step = totals[SQUARED_STEP]
    if not math.isfinite(squared_step):  # a square may have overflowed
        x, _ = point_of(memory, run, run.taken)
        for i in range(run.n):
            if not math.isfinite(x[i]):
                run.outcome = X_NOT_FINITE
                run.job = FAIL
                return
    run.squared_gradient = totals[SQUARED_GRADIENT]
    run.largest_gradient = largest
    old_value, value = run.value, run.taken_value
    scale = abs(old_value) if abs(old_value) > abs(value) else abs(value)
    run.decrease = (old_value - value) / (scale if scale > 1.0 else 1.0)
    run.moves = 1 if moves > 0.0 else 0
    run.at = run.taken
    run.value = value
    sy, yy = _table(memory, run, SY), _table(memory, run, YY)
    sg, yg = _column(memory, run, SG), _column(memory, run, YG)
    for row in range(n_rows):
        products = vector(totals, FIRST_PRODUCT + N_PRODUCTS * row, N_PRODUCTS)
        sy[row, new] = products[0]
        sg[row] = products[1]
        yy[row, new] = products[2]
        yy[new, row] = products[2]
        yg[row] = products[3]
    succeeded = run.outcome in (AT_TRIAL, AT_BEST)
    if succeeded:
        of_new = FIRST_PRODUCT + N_PRODUCTS * new
        curvature, squared_y = totals[of_new], totals[of_new + 2]
        if curvature > SMALLEST_COSINE * math.sqrt(squared_step) * math.sqrt(squared_y):
            run.last = new
            run.scale = curvature / squared_y
            run.count += 1 if run.count < n_rows - 1 else 0
    elif run.outcome != LEVEL:
        run.decrease = math.inf
        run.moves = 1
        run.count = 0
        run.unbounded = 1 if run.outcome == UNBOUNDED else 0
    run.job = ITERATE


@part
def work(memory, first, stop):
    """Do a run's job on some of the blocks, each with its sums."""
    run = record(memory, 0, RUN)
    search = record(memory, _SEARCH_AT, SEARCH)
    job, n = run.job, run.n
    at, trial = run.points + 2 * n * run.at, run.points + 2 * n * run.trial
    taken = run.points + 2 * n * run.taken
    for block in range(first, stop):
        start = block * BLOCK
        size = BLOCK if start + BLOCK < n else n - start
        sums = vector(memory, run.sums + block * run.n_sums, run.n_sums)
        direction = vector(memory, run.direction + start, size)
        x, gradient = vector(memory, at + start, size), vector(memory, at + n + start, size)
        if job == DIRECT:
            _form_direction(memory, run, start, gradient, direction)
            sums[SLOPE] = _inner(gradient, direction)
        elif job == STEP:
            step_along(x, search.step, direction, vector(memory, trial + start, size))
        elif job == MEASURE:
            sums[SLOPE] = _inner(vector(memory, trial + n + start, size), direction)
        elif job == LEARN:
            new_x = vector(memory, taken + start, size)
            new_gradient = vector(memory, taken + n + start, size)
            _form_pair(memory, run, start, (x, gradient, new_x, new_gradient), sums)


@part
def _products(s, y, v, w):
    """Do `pair_products`, in one copy."""
    return pair_products(s, y, v, w)


@inline
def _inner(x, y):
    """Inner product of two vectors, which for lack of others is formed four times."""
    product, _, _, _ = _products(x, x, y, y)
    return product


@part
def _form_direction(memory, run, start, gradient, direction):
    """Overwrite a block of the direction, by the factors that `_choose_direction` has left."""
    n, n_rows = run.n, run.n_rows
    of_s, of_y = _column(memory, run, OF_S), _column(memory, run, OF_Y)
    scaled(gradient, run.factor, direction)
    for age in range(run.count - 1, -1, -1):
        row = (run.last - age) % n_rows
        s = vector(memory, run.S + row * n + start, direction.size)
        y = vector(memory, run.Y + row * n + start, direction.size)
        add_combination(direction, of_s[row], s, of_y[row], y)


@part
def _form_pair(memory, run, start, points, sums):
    """Overwrite a block of the new row of S and Y, and its sums."""
    x, gradient, new_x, new_gradient = points
    n, n_rows, size = run.n, run.n_rows, x.size
    new = (run.last + 1) % n_rows
    s = vector(memory, run.S + new * n + start, size)
    y = vector(memory, run.Y + new * n + start, size)
    step_along(new_x, -1.0, x, s)
    step_along(new_gradient, -1.0, gradient, y)
    squared_step, _, _, squared_gradient = _products(s, new_gradient, s, new_gradient)
    sums[SQUARED_STEP] = squared_step
    sums[SQUARED_GRADIENT] = squared_gradient
    bits = largest_size(reinterpreted(new_gradient, 0, size, _INTEGERS))
    reinterpreted(sums, LARGEST_GRADIENT, 1, _INTEGERS)[0] = bits
    sums[MOVES] = count_moves(s, new_x, run.step_tolerance)
    for age in range(-1, run.count):
        row = (run.last - age) % n_rows
        older_s = vector(memory, run.S + row * n + start, size)
        older_y = vector(memory, run.Y + row * n + start, size)
        of_row = FIRST_PRODUCT + N_PRODUCTS * row
        products = _products(older_s, older_y, y, new_gradient)
        for which in range(N_PRODUCTS):
            sums[of_row + which] = products[which]
