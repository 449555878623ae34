"""
Training and validation
=======================

A fifth of the labels are wrong. The network learns what is common to all rows first, and then
each wrong label by heart: the objective keeps falling, while the loss on rows that were held out
turns and rises. ``result.trace`` has both.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

X, y = fastmlp.datasets.load_digits()
rng = np.random.default_rng(0)
wrong = rng.random(1000) < 0.2
labels = np.where(wrong, rng.integers(0, 10, 1000), y[:1000])
net = fastmlp.MLP([64, 256, 10], output="softmax", seed=0)
result = net.fit(
    X[:1000],
    labels,
    validation_data=(X[1000:], y[1000:]),
    optimizer=fastmlp.Adam(1e-3),
    batch_size=32,
    epochs=60,
    seed=0,
)

trace = result.trace
lowest = trace["validation_loss"][1:].argmin() + 1
figure, panel = plt.subplots()
panel.semilogy(trace["epoch"], trace["objective"], label="training")
panel.semilogy(trace["epoch"], trace["validation_loss"], label="validation")
panel.plot(lowest, trace["validation_loss"][lowest], "ko", label=f"least, epoch {lowest}")
panel.set(xlabel="epoch", ylabel="cross-entropy")
panel.legend()
plt.show()
