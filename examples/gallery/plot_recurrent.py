"""
What comes next
===============

A recurrent network sees eighty steps of a wave and says the next one, at each step. Then it goes
on by itself: what it says is what it sees next.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

rng = np.random.default_rng(0)
phase, speed = rng.uniform(0, 6.28, (300, 1)), rng.uniform(0.2, 0.4, (300, 1))
waves = np.sin(phase + speed * np.arange(81))[:, :, None]

net = fastmlp.RNN([1, 32, 1], sequence="all", seed=0)
schedule = fastmlp.CosineAnnealing(0.01, period=150, restarts=False)
net.fit(waves[:, :-1], waves[:, 1:], optimizer=fastmlp.Adam(schedule), epochs=150, seed=0)

seen = np.sin(1.0 + 0.3 * np.arange(40))[None, :, None]
together = seen
for _ in range(40):
    together = np.concatenate([together, net.predict(together)[:, -1:]], axis=1)

figure, panel = plt.subplots()
steps = np.arange(80)
panel.plot(steps, np.sin(1 + 0.3 * steps), "-", color="0.7", linewidth=4, label="wave")
panel.plot(steps[:40], seen[0, :, 0], "k-", label="seen")
panel.plot(
    steps[40:], together[0, 40:, 0], "o", color="#D55E00", markersize=4, label="network alone"
)
panel.set(xlabel="step")
figure.legend(loc="outside upper center", ncols=3)
plt.show()
