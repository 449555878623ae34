"""
Deep networks need help
=======================

Twelve hidden layers of 32 units. With nothing else, gradients fade on their way through; layer
norm keeps each layer's numbers at the same size, and residual layers hand them on.
"""

import matplotlib.pyplot as plt

import fastmlp

X, y = fastmlp.datasets.load_digits()
sizes = [64] + 12 * [32] + [10]
kinds = {
    "plain": {},
    "layer norm": {"norm": "layer"},
    "residual": {"residual": True},
    "both": {"norm": "layer", "residual": True},
}
figure, panel = plt.subplots()
for name, pieces in kinds.items():
    net = fastmlp.MLP(sizes, activation="tanh", output="softmax", seed=0, **pieces)
    result = net.fit(X, y, optimizer=fastmlp.SGD(0.01, momentum=0.9), epochs=30, seed=0)
    panel.semilogy(result.trace["epoch"], result.trace["objective"], label=name)
panel.set(xlabel="epoch", ylabel="objective")
panel.legend()
plt.show()
