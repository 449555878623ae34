"""
Numbers that enter as waves
===========================

A network learns slow curves first, and may never come to the fast ones. A periodic embedding
turns an input into waves whose frequencies are trained with the rest.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

x = np.linspace(-1, 1, 400)
y = np.sin(40 * x) * np.exp(-(x**2)) + 0.5 * x

figure, panels = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(6.4, 4.6))
inputs = {"as it is": None, "periodic": [fastmlp.Numeric(0, "periodic", size=8)]}
for panel, (name, columns) in zip(panels, inputs.items(), strict=True):
    net = fastmlp.MLP([1, 64, 64, 1], inputs=columns, seed=0)
    net.fit(10 * x[:, None], y, optimizer=fastmlp.Adam(3e-3), batch_size=64, epochs=300, seed=0)
    panel.plot(x, y, color="0.6", linestyle="-", linewidth=3, label="target")
    panel.plot(x, net.predict(10 * x[:, None])[:, 0], "k-", linewidth=1, label=name)
    panel.legend(loc="lower right")
panels[1].set_xlabel("x")
plt.show()
