"""Peak memory of training: the data, plus what grows with parameters and batch but not rows."""

import numpy as np

import fastmlp


class PeakMemory:
    """One million rows of 20 float32 numbers are 80 MB."""

    def setup(self):
        rng = np.random.default_rng(0)
        self.X = rng.standard_normal((1_000_000, 20), np.float32)
        self.y = self.X[:, :1].copy()
        self.net = fastmlp.MLP([20, 64, 64, 1], seed=0)

    def peakmem_data_alone(self):
        return self.X.sum()

    def peakmem_full_batch_gradient(self):
        self.net.loss_and_grad(self.X, self.y)

    def peakmem_one_epoch(self):
        self.net.fit(self.X, self.y, batch_size=256, epochs=1, shuffle=False)
