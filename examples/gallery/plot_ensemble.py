"""
How sure is it?
===============

Twenty networks that differ in their start and in the rows they see, fitted side by side by
``fit_many``. Where there are data they agree; in the gap and beyond the ends they do not.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.concatenate([rng.uniform(-3, -1, 60), rng.uniform(0.5, 3, 60)])
y = np.sin(2 * x) + 0.1 * rng.normal(size=120)
grid = np.linspace(-4, 4, 200)[:, None]

nets = [fastmlp.MLP([1, 24, 24, 1], activation="tanh", seed=i) for i in range(20)]
rows = [rng.integers(0, 120, 120) for _ in nets]
fastmlp.fit_many(nets, x[:, None], y, rows=rows, seeds=0, optimizer=fastmlp.Adam(0.01), epochs=300)
outputs = np.array([net.predict(grid)[:, 0] for net in nets])
mean, spread = outputs.mean(axis=0), outputs.std(axis=0)

figure, panel = plt.subplots()
panel.fill_between(
    grid[:, 0], mean - 2 * spread, mean + 2 * spread, color="0.85", label="2 standard deviations"
)
panel.plot(grid, mean, label="mean of 20 networks")
panel.plot(x, y, "ko", markersize=3, label="data")
panel.set(xlabel="x", ylabel="y", ylim=(-3, 3))
panel.legend(loc="upper left")
plt.show()
