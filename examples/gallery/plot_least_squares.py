"""
When the objective is a sum of squares
======================================

Levenberg-Marquardt knows that it is, and needs the fewest evaluations of all. BFGS and L-BFGS
have to learn the curvature from gradients.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

x = np.linspace(-1, 1, 60)[:, None]
y = np.sin(4 * x) / (1 + x**2)

figure, panel = plt.subplots()
tolerances = {"objective_tolerance": 0.0, "gradient_tolerance": 1e-7}
for make in [fastmlp.LevenbergMarquardt, fastmlp.BFGS, fastmlp.LBFGS]:
    net = fastmlp.MLP([1, 8, 1], activation="tanh", dtype="float64", seed=0)
    trace = net.fit(x, y, optimizer=make(**tolerances), epochs=400).trace
    panel.loglog(trace["n_grad_evals"] + 1, trace["objective"], label=make.__name__)
panel.set(xlabel="gradients", ylabel="objective")
panel.legend()
plt.show()
