"""
Counts
======

How many, not how much. The output ``exponential`` is never negative, and the loss ``poisson``
weighs an error by how large a count is to be expected.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(0, 24, 500))
rate = 2 + 6 * np.exp(-((x - 8) ** 2) / 4) + 9 * np.exp(-((x - 17) ** 2) / 6)
counts = rng.poisson(rate)

net = fastmlp.MLP([1, 16, 1], activation="tanh", output="exponential", seed=0)
net.fit(x[:, None] / 12 - 1, counts, loss="poisson", l2=1e-4, optimizer=fastmlp.LBFGS(), epochs=500)

figure, panel = plt.subplots()
panel.plot(x, counts, "o", color="0.7", markersize=3, label="counts")
panel.plot(x, rate, "k:", label="rate they were drawn from")
panel.plot(x, net.predict(x[:, None] / 12 - 1)[:, 0], "-", color="#0072B2", label="network")
panel.set(xlabel="hour of the day", ylabel="arrivals an hour")
panel.legend(loc="upper left")
plt.show()
