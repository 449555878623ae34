"""The six training workloads that fastmlp and its peers are timed on, seeded."""

from dataclasses import dataclass

import numpy as np

from . import mnist


@dataclass(frozen=True)
class Workload:
    """A network, its data and how it is trained.

    `steps` is how many mini-batches make the timed epoch, all of them full: enough to time, few
    enough to wait for; the data set is cut to them.
    """

    name: str
    sizes: tuple[int, ...]
    activation: str
    output: str
    batch: int | None
    optimizer: str
    n_rows: int
    steps: int

    @property
    def flops(self) -> float:
        """Floating-point operations of one step: forward, input and weight gradients."""
        products = [a * b for a, b in zip(self.sizes, self.sizes[1:], strict=False)]
        rows = self.batch or self.n_rows
        return 2.0 * rows * (3 * sum(products) - products[0])

    @property
    def has_images(self) -> bool:
        """Whether the data are MNIST's."""
        fits = self.sizes[0] == 784 and self.output == "softmax" and self.n_rows <= 60_000
        return fits and not mnist.reason_to_skip()

    def data(self):
        """X (rows, n_in) float32 and y, class indices or targets (rows, n_out).

        Networks for MNIST have its images where these are, see `mnist`. Elsewhere, and for other
        classifiers, as many pixels, four fifths, are 0, but at random: so hardly any is 0 in all
        images of a mini-batch, as a third of MNIST's are, which a step then has less to do for.
        """
        rng = np.random.default_rng(0)
        rows = min(self.n_rows, self.steps * (self.batch or self.n_rows))
        n_in, n_out = self.sizes[0], self.sizes[-1]
        if self.has_images:
            X, y = mnist.load("train")
            return X[:rows].copy(), y[:rows].astype(np.int64)
        if self.output == "softmax":
            X = rng.random((rows, n_in), np.float32)
            X *= rng.random((rows, n_in), np.float32) < 0.2
            return X, rng.integers(0, n_out, rows)
        X = rng.standard_normal((rows, n_in), np.float32)
        teacher = rng.standard_normal((n_in, n_out)) / np.sqrt(n_in)
        y = np.sin(X @ teacher) + 0.1 * rng.standard_normal((rows, n_out))
        return X, y.astype(np.float32)


WORKLOADS = {
    w.name: w
    for w in (
        Workload("digits13k", (784, 16, 16, 10), "relu", "softmax", 32, "adam", 60_000, 1875),
        Workload("tabular", (20, 64, 64, 1), "relu", "identity", 64, "adam", 20_000, 312),
        Workload("online", (784, 16, 16, 10), "relu", "softmax", 1, "momentum", 60_000, 20_000),
        Workload("matexp", (4, 32, 16, 4), "tanh", "identity", None, "adam", 10_000, 1),
        Workload("mnist512", (784, 512, 512, 10), "relu", "softmax", 128, "adam", 60_000, 100),
        Workload(
            "wide1024", (1024, 1024, 1024, 1024, 10), "relu", "softmax", 512, "adam", 60_000, 12
        ),
    )
}
