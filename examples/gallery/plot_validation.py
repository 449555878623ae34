"""
Training and validation
=======================

Too many units for too few rows: the objective keeps falling while the loss on rows that were held out turns and
rises. ``result.trace`` has both, epoch by epoch.
"""

import matplotlib.pyplot as plt

import fastmlp

X, y = fastmlp.datasets.load_digits()
net = fastmlp.MLP([64, 256, 10], output="softmax", seed=0)
result = net.fit(
    X[:300],
    y[:300],
    validation_data=(X[300:], y[300:]),
    optimizer=fastmlp.Adam(3e-4),
    batch_size=32,
    epochs=120,
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
