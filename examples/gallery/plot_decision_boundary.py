"""
Where one class ends
====================

The probability that a network gives to one of two classes, over the plane. Its units bend the
boundary between them; with more units it could bend more often.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
angle = rng.uniform(0, np.pi, 200)
y = np.arange(200) % 2
X = np.column_stack([np.cos(angle), np.sin(angle)])
X[y == 1] = [1, 0.5] - X[y == 1]
X += 0.15 * rng.normal(size=X.shape)

net = fastmlp.MLP([2, 12, 1], activation="tanh", output="sigmoid", seed=0)
net.fit(X, y, l2=1e-4, optimizer=fastmlp.LBFGS(), epochs=200)

grid_1, grid_2 = np.meshgrid(np.linspace(-1.8, 2.8, 150), np.linspace(-1.3, 1.8, 120))
probability = net.predict(np.column_stack([grid_1.ravel(), grid_2.ravel()])).reshape(grid_1.shape)

figure, panel = plt.subplots()
map_ = panel.pcolormesh(grid_1, grid_2, probability, vmin=0, vmax=1, rasterized=True)
panel.contour(grid_1, grid_2, probability, [0.5], colors="white", linewidths=2)
for label, marker in ((0, "o"), (1, "^")):
    here = X[y == label].T
    panel.plot(*here, marker, color="white", markeredgecolor="black", label=f"class {label}")
panel.grid(False)
panel.legend(loc="lower left", frameon=True)
figure.colorbar(map_, label="probability of class 1")
plt.show()
