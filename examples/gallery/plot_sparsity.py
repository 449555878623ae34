"""
Weights that are exactly zero
=============================

An ``l1`` penalty has a corner at zero. ``OWLQN`` stops there, so that weights become zero and not
just small. Pixels of which no weight is left could be left out of the data.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

X, y = fastmlp.datasets.load_digits()
train, test = slice(0, 1300), slice(1300, None)
strengths = np.geomspace(1e-4, 3e-2, 7)
zeros, accuracy = [], []
for l1 in strengths:
    net = fastmlp.MLP([64, 16, 10], output="softmax", seed=0)
    net.fit(X[train], y[train], l1=l1, optimizer=fastmlp.OWLQN(), epochs=300)
    zeros.append(np.mean(np.concatenate([W.ravel() for W in net.weights]) == 0))
    accuracy.append(np.mean(net.predict(X[test]).argmax(axis=1) == y[test]))

figure, panel = plt.subplots()
panel.semilogx(strengths, zeros, marker="o", label="share of weights that are zero")
panel.semilogx(strengths, accuracy, marker="s", label="accuracy on other rows")
panel.set(xlabel="l1", ylim=(0, 1))
panel.legend(loc="lower left")
plt.show()
