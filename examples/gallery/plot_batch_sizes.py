"""
How many rows in a mini-batch?
==============================

The same learning rate and number of epochs. The fewer rows a mini-batch has, the more updates an
epoch makes; all rows at once make one. In exchange each update of few rows goes by a noisier
gradient, and an epoch of them takes longer.
"""

import matplotlib.pyplot as plt

import fastmlp

X, y = fastmlp.datasets.load_digits()
figure, panel = plt.subplots()
for batch_size in [8, 32, 128, None]:
    net = fastmlp.MLP([64, 32, 10], output="softmax", seed=0)
    optimizer = fastmlp.SGD(0.01)
    result = net.fit(X, y, optimizer=optimizer, batch_size=batch_size, epochs=40, seed=0)
    name = "all rows" if batch_size is None else f"{batch_size} rows"
    panel.semilogy(result.trace["epoch"], result.trace["objective"], label=name)
panel.set(xlabel="epoch", ylabel="objective")
panel.legend()
plt.show()
