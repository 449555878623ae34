"""
What the first layer looks for
==============================

The weights of each hidden unit, as an image of the pixels they belong to: dark ones speak against
the unit, bright ones for it.
"""

import matplotlib.pyplot as plt

import fastmlp

X, y = fastmlp.datasets.load_digits()
net = fastmlp.MLP([64, 16, 10], activation="tanh", output="softmax", seed=0)
net.fit(X, y, l2=5e-3, optimizer=fastmlp.LBFGS(), epochs=200)

W = net.weights[0]
figure, panels = plt.subplots(2, 8, figsize=(8, 2.2))
for panel, unit in zip(panels.flat, W.T, strict=True):
    panel.imshow(unit.reshape(8, 8), vmin=-abs(W).max(), vmax=abs(W).max())
    panel.set_axis_off()
plt.show()
