"""
Outliers
========

One target in ten is wrong by a lot. The squared error pulls the curve towards them; Huber's loss
takes errors beyond ``delta`` no more seriously than their sign.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
x = np.sort(rng.uniform(-2, 2, 150))
y = x**3 / 4 - x / 2 + 0.1 * rng.normal(size=150)
y[rng.choice(150, 15, replace=False)] += rng.uniform(2, 5, 15)

figure, panel = plt.subplots()
panel.plot(x, y, "o", color="0.6", markersize=4, label="data")
panel.plot(x, x**3 / 4 - x / 2, "k:", label="without noise and outliers")
for loss in ["squared_error", "huber(0.2)"]:
    net = fastmlp.MLP([1, 16, 1], activation="tanh", dtype="float64", seed=0)
    net.fit(x[:, None], y, loss=loss, l2=1e-3, optimizer=fastmlp.LBFGS(), epochs=500)
    panel.plot(x, net.predict(x[:, None])[:, 0], label=loss)
panel.set(xlabel="x", ylabel="y")
panel.legend()
plt.show()
