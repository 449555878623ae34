"""
A range, not a number
=====================

One network with three outputs, trained by the quantile loss of a level for each: a tenth of all
targets should lie below the first, half below the second, nine tenths below the third.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 4, 1500))
y = np.sin(2 * x) + 0.1 * (1 + x) * rng.normal(size=1500)

net = fastmlp.MLP([1, 32, 32, 3], activation="tanh", seed=0)
schedule = fastmlp.CosineAnnealing(0.01, period=200)
net.fit(
    x[:, None],
    np.repeat(y[:, None], 3, axis=1),
    loss="quantile(0.1, 0.5, 0.9)",
    optimizer=fastmlp.Adam(schedule),
    epochs=200,
    seed=0,
)
low, median, high = net.predict(x[:, None]).T

figure, panel = plt.subplots()
panel.plot(x, y, ".", color="0.7", markersize=2, label="data")
panel.plot(x, median, linestyle="-", label="0.5")
panel.plot(x, high, linestyle="--", label="0.9")
panel.plot(x, low, linestyle="-.", label="0.1")
panel.set(xlabel="x", ylabel="y")
panel.legend()
plt.show()
print(f"below 0.1: {np.mean(y < low):.2f}, below 0.9: {np.mean(y < high):.2f}")
