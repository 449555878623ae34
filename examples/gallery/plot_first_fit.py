"""
A curve through noise
=====================

The smallest use of all: one input, one output, twenty units, a fraction of a second. L-BFGS
minimizes the whole objective, and a small ``l2`` keeps the curve from following the noise.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-3, 3, 120))
y = np.sin(2 * x) + 0.2 * rng.normal(size=120)

net = fastmlp.MLP([1, 20, 1], activation="tanh", dtype="float64", seed=0)
net.fit(x[:, None], y, l2=1e-4, optimizer=fastmlp.LBFGS(), epochs=300)

figure, panel = plt.subplots()
panel.plot(x, y, "o", color="0.6", markersize=4, label="data")
panel.plot(x, np.sin(2 * x), "k:", label="without noise")
panel.plot(x, net.predict(x[:, None])[:, 0], color="#D55E00", linestyle="-", label="network")
panel.set(xlabel="x", ylabel="y")
panel.legend()
plt.show()
