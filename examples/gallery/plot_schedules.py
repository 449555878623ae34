"""
Learning rates that fall
========================

Every schedule takes the place of a number: ``Adam(CosineAnnealing(0.01, period=25))``. Its
``values`` are the learning rates at given times, without any fit.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

epochs = np.arange(100.0)
schedules = {
    "StepDecay": fastmlp.StepDecay(0.01, factor=0.5, every=25),
    "ExponentialDecay": fastmlp.ExponentialDecay(0.01, rate=0.04),
    "CosineAnnealing": fastmlp.CosineAnnealing(0.01, period=50),
    "LinearDecay": fastmlp.LinearDecay(0.01, final=0.001, until=80),
    "InverseTime": fastmlp.InverseTime(0.01, t0=20),
    "WarmUp, then constant": fastmlp.WarmUp(10, 0.0085),
}
figure, panel = plt.subplots(figsize=(8, 3.8))
for name, schedule in schedules.items():
    panel.plot(epochs, schedule.values(epochs), label=name)
panel.set(xlabel="epoch", ylabel="learning rate")
figure.legend(loc="outside right upper", fontsize="small")
plt.show()
