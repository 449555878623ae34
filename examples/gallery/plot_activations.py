"""
Activations
===========

What the units of a hidden layer may do with their sum. ``activation="relu"`` is the default.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

x = np.linspace(-3, 3, 301)
figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharey=True)
rows = ["relu", "leaky_relu(0.1)", "elu", "selu"], ["tanh", "sigmoid", "gelu", "silu", "mish"]
for panel, names in zip(axes, rows, strict=True):
    for name in names:
        net = fastmlp.MLP([1, 1, 1], activation=name, dtype="float64")
        net.theta[:] = 1, 0, 1, 0
        panel.plot(x, net.predict(x[:, None])[:, 0], label=name)
    panel.set_xlabel("sum")
    panel.legend()
axes[0].set_ylabel("activation")
plt.show()
