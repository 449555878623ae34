"""
Losses
======

What an error costs. The squared error grows fastest, so that a single outlier may decide; Huber's
loss and the absolute error grow in proportion. A quantile's loss makes one side dearer than the
other.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

errors = np.linspace(-3, 3, 121)
net = fastmlp.MLP([1, 1], dtype="float64")
net.theta[:] = 0  # predicts 0, so that the target is the error

figure, panel = plt.subplots()
for loss in ["squared_error", "absolute_error", "huber(1)", "quantile(0.9)"]:
    panel.plot(errors, [net.loss([[0.0]], [error], loss=loss) for error in errors], label=loss)
panel.set(xlabel="target less prediction", ylabel="loss")
panel.legend()
plt.show()
