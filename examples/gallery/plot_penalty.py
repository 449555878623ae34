"""
What a penalty does
===================

Fifteen points and a network of fifty units, which could pass through all of them. ``l2`` adds the
weights' squares to the objective: the larger it is, the smoother the curve.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(1)
x = np.sort(rng.uniform(-1, 1, 15))
y = np.sin(3 * x) + 0.3 * rng.normal(size=15)
grid = np.linspace(-1.1, 1.1, 300)[:, None]

figure, panel = plt.subplots()
panel.plot(x, y, "ko", markersize=5, label="data")
for l2 in [1e-6, 1e-3, 3e-2]:
    net = fastmlp.MLP([1, 50, 1], activation="tanh", dtype="float64", seed=0)
    net.fit(x[:, None], y, l2=l2, optimizer=fastmlp.BFGS(), epochs=2000)
    panel.plot(grid, net.predict(grid)[:, 0], label=f"l2 = {l2:g}")
panel.set(xlabel="x", ylabel="y", ylim=(-2.2, 2.2))
panel.legend()
plt.show()
