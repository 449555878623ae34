"""Sparse rows in training and prediction: densified block by block, never all at once."""

import numpy as np

from fastmlp.kernels import codes
from fastmlp.losses import CHECKED, check_loss, check_values, choose_targets
from fastmlp.objective import NormalEquations, Objective, count_errors, evaluate
from fastmlp.sweep import CHUNK, Problem, Sweep
from fastmlp.validation import as_array, as_real, as_weights, check_finite, rounded

# Bytes of a dense block: enough for a call of the kernel to be long, little beside what is sparse.
BLOCK_BYTES = 1 << 23


def block_rows(n_columns, dtype):
    """Rows of a dense block, at least one."""
    return max(1, BLOCK_BYTES // (n_columns * np.dtype(dtype).itemsize))


def blocks(X, dtype):
    """Dense blocks of the rows of a CSR matrix, as (start, stop, rows)."""
    step = block_rows(X.shape[1], dtype)
    for start in range(0, X.shape[0], step):
        stop = min(start + step, X.shape[0])
        yield start, stop, rounded(X[start:stop].toarray(), dtype)


class SparseSamples:
    """What kernels take of an objective, for sparse rows.

    Parameters
    ----------
    X : CSR matrix or array, (n, n_in)
    targets, weights : ndarray
        As `fastmlp.Objective` keeps them: flat, and weights empty if there are none.
    dtype : dtype
    scaling : Scaling or None
        Of the rows.
    """

    def __init__(self, X, targets, weights, dtype, scaling):
        self._X = X
        self._targets = targets.reshape(X.shape[0], -1)
        self._weights = weights
        self._dtype = dtype
        self._scaling = scaling

    def __iter__(self):
        """All arrays, for a checksum."""
        return iter((self._X.data, self._X.indices, self._X.indptr, self._targets, self._weights))

    def take(self, rows):
        """Samples of some rows, a slice or indices, as kernels take dense ones."""
        X = rounded(self._X[rows].toarray(), self._dtype)
        if self._scaling is not None:
            X = self._scaling.transform(X)
        weights = self._weights[rows] if self._weights.size else self._weights
        return np.ascontiguousarray(X), self._targets[rows].ravel(), weights

    def slices(self):
        """Consecutive rows of a block each."""
        n_rows, step = self._X.shape[0], block_rows(self._X.shape[1], self._dtype)
        return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]

    def evaluate(self, net, problem, theta, mode, spare, check):
        """What `objective.evaluate` does: the mean over blocks, in float64."""
        value = 0.0
        gradient = np.zeros(theta.size if mode == codes.DIFFERENTIATE else 0)
        for rows in self.slices():
            n_rows = rows.stop - rows.start
            part = problem._replace(n_rows=n_rows)
            one, slope = evaluate(net, part, self.take(rows), theta, mode, spare, check)
            share = n_rows / problem.n_rows
            value += share * one
            gradient += share * slope
        return value, gradient.astype(theta.dtype)


class SparseObjective(Objective):
    """A network's objective on sparse rows.

    Parameters
    ----------
    X : CSR matrix or array, (n, n_in)
        Finite.
    net, y, loss, sample_weight, l2, n_threads
        As of `fastmlp.Objective`.
    scaling : Scaling or None
        Of X.
    """

    def __init__(self, net, X, y, *, loss, sample_weight, l2, n_threads, scaling):
        n_rows, n_out = X.shape[0], net.layer_sizes[-1]
        name, code, parameters = check_loss(loss, net._activations[-1], n_out)
        Y = as_array("y", y, net.dtype)
        code, n_target = choose_targets(Y.shape, code, n_rows, n_out)
        check_finite("y", Y)
        if code in CHECKED:
            check_values(as_real("y", y), Y, code, n_out)
        problem = Problem(n_rows, n_target, name, code, parameters, 0.0, l2, n_threads)
        weights = as_weights(sample_weight, n_rows, net.dtype)
        self._keep(net, problem, SparseSamples(X, Y, weights, net.dtype, scaling))

    def take(self, rows):
        """Samples of some rows, as kernels take them."""
        return self.samples.take(rows)

    def sweep(self, batch_rows, *, gather, optimizer):
        """The compiled loop, over blocks."""
        return BlockSweep(self.net, self.problem, batch_rows, optimizer, self.samples)

    def normal_equations(self):
        """What evaluates the Gauss-Newton matrix, over blocks."""
        return BlockEquations(self.net, self.problem, self.samples)

    def outputs(self):
        """Outputs of the network as it is, (n, n_outputs)."""
        net = self.net
        parts = [net.predict(self.samples.take(rows)[0]) for rows in self.samples.slices()]
        return np.concatenate(parts)


class BlockEquations:
    """`NormalEquations` whose rows become dense a block at a time."""

    def __init__(self, net, problem, samples):
        self._net, self._problem, self._samples = net, problem, samples
        self.n_errors = count_errors(net)
        self.flops = float(problem.n_rows * self.n_errors * net.n_params * (net.n_params + 1))

    def at(self, theta, check=None):
        """Value, gradient and matrix at `theta`: the means over blocks."""
        value = 0.0
        gradient, matrix = np.zeros(theta.size), np.zeros((theta.size, theta.size))
        for rows in self._samples.slices():
            n_rows = rows.stop - rows.start
            part = self._problem._replace(n_rows=n_rows)
            equations = NormalEquations(self._net, part, self._samples.take(rows))
            one, slope, curvature = equations.at(theta, check)
            share = n_rows / self._problem.n_rows
            value += share * one
            gradient += share * slope
            matrix += share * curvature
        return value, gradient, matrix


class BlockSweep(Sweep):
    """A `Sweep` whose rows become dense a block of whole chunks at a time.

    The chunks are those of dense rows, so that theta comes out with the same bits.
    """

    def __init__(self, net, problem, batch_rows, optimizer, samples):
        super().__init__(net, problem, batch_rows, gather=False, optimizer=optimizer)
        self._samples = samples
        self._taken = None
        self._chunks = self._tables.chunks.copy()
        self._block = block_rows(net.layer_sizes[0], net.dtype)
        self._last = self._n_chunks

    @property
    def done(self):
        return self._tables.cursor[CHUNK] == self._last

    @property
    def rows_done(self):
        done = int(self._tables.cursor[CHUNK])
        return int(self._chunks["stop"][done - 1]) if done else 0

    def begin(self, order=None, updates_before=0, most_updates=np.inf):
        super().begin(order, updates_before, most_updates)
        self._last, self._end = self._end, 0
        self._shuffled, self._order = self._order, _AS_THEY_LIE

    def advance(self, mode, theta, samples, gradient, update=None):
        first = int(self._tables.cursor[CHUNK])
        if first == self._end:
            self._take_block(first)
        return super().advance(mode, theta, self._taken, gradient, update)

    def _take_block(self, first):
        """Make the rows of the next chunks dense, and number them from 0."""
        start = self._chunks["start"][first]
        fits = np.searchsorted(self._chunks["stop"], start + self._block, side="right")
        self._end = min(max(int(fits), first + 1), self._last)
        stop = self._chunks["stop"][self._end - 1]
        shuffled = self._shuffled.size > 0
        self._taken = self._samples.take(
            self._shuffled[start:stop] if shuffled else slice(start, stop)
        )
        taken = slice(first, self._end)
        self._tables.plan.rows_before = start
        for field in ("start", "stop"):
            self._tables.chunks[field][taken] = self._chunks[field][taken] - start


_AS_THEY_LIE = np.empty(0, np.int64)
