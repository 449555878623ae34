"""
Gradient descent against quasi-Newton
=====================================

Four optimizers on one network, from the same starts, at the same number of passes over the data.
``compare`` draws the medians over the seeds.
"""

import matplotlib.pyplot as plt

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
comparison.plot(ax=panel, measure="passes")
plt.show()
