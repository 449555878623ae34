"""
Gradient descent against quasi-Newton
=====================================

Four optimizers on one network, from the same starts, at the same number of passes over the data.
``compare`` draws the medians over the seeds.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

X, y = fastmlp.datasets.load_digits()
comparison = fastmlp.compare(
    fastmlp.MLP([64, 32, 10], output="softmax", seed=0),
    X,
    y,
    {
        "gradient descent": fastmlp.GradientDescent(),
        "SGD, momentum": fastmlp.SGD(0.003, momentum=0.9),
        "Adam": fastmlp.Adam(3e-3),
        "L-BFGS": fastmlp.LBFGS(),
    },
    l2=1e-3,
    passes=60,
    seeds=3,
)

figure, panel = plt.subplots()
for name, runs in comparison.runs.items():
    traces = [run.result.trace for run in runs]
    grid = np.arange(61)
    values = [np.interp(grid, trace["data_passes"], trace["objective"]) for trace in traces]
    panel.semilogy(grid, np.median(values, axis=0), label=name)
panel.set(xlabel="passes over the data", ylabel="objective, median of 3 seeds", ylim=(None, 4))
panel.legend()
plt.show()
