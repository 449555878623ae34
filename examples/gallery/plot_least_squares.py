"""
When the objective is a sum of squares
======================================

Levenberg-Marquardt knows that it is, and needs the fewest evaluations of all. BFGS and L-BFGS have to learn the
curvature from gradients.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

x = np.linspace(-1, 1, 60)[:, None]
y = np.sin(4 * x) / (1 + x**2)

figure, panel = plt.subplots()
for optimizer in [fastmlp.LevenbergMarquardt(), fastmlp.BFGS(), fastmlp.LBFGS()]:
    net = fastmlp.MLP([1, 8, 1], activation="tanh", dtype="float64", seed=0)
    trace = net.fit(x, y, optimizer=optimizer, epochs=400).trace
    panel.loglog(trace["n_grad_evals"] + 1, trace["objective"], label=type(optimizer).__name__)
panel.set(xlabel="gradients", ylabel="objective", ylim=(1e-9, None))
panel.legend()
plt.show()
