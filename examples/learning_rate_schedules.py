"""The learning rate as a function of time: schedules, and what they do to stochastic descent.

Mini-batches give the gradient with noise, and with a constant learning rate theta ends up
wandering around the minimum. A learning rate that falls lets it settle. Robbins and Monro's
conditions for that: the learning rates gamma_t sum to infinity, so that the minimum is reached
from however far, and their squares to something finite, so that the noise dies out. Here they
are met by "inverse time" alone; in a given number of epochs others come nearer.

A network without hidden layers (softmax regression) with a strong l2 penalty has one minimum, so
that the distance to it is known.
"""

import argparse

import fastmlp

EPOCHS = 60
FIRST = 0.3  # too large to stay at, which is what schedules are for
L2 = 0.01

SCHEDULES = {
    "constant": FIRST,
    "step": fastmlp.StepDecay(FIRST, factor=0.5, every=10),
    "exponential": fastmlp.ExponentialDecay(FIRST, rate=0.1),
    "cosine with restarts": fastmlp.CosineAnnealing(FIRST, period=20),
    "linear": fastmlp.LinearDecay(FIRST, final=0.01 * FIRST, until=50),
    "inverse time": fastmlp.InverseTime(FIRST, t0=5),
    "warm-up, then cosine": fastmlp.WarmUp(
        5, then=fastmlp.CosineAnnealing(FIRST, period=EPOCHS - 5, restarts=False)
    ),
}


def main(figure=None):
    X, y = fastmlp.datasets.load_digits("float64")
    start = fastmlp.MLP([64, 10], output="softmax", dtype="float64", seed=0)
    net = start.copy()
    exact = fastmlp.LBFGS(gradient_tolerance=1e-8, objective_tolerance=0)
    minimum = net.fit(X, y, l2=L2, optimizer=exact, epochs=1000).loss
    print(f"minimum of the objective, by L-BFGS: {minimum:.6f}")
    print(f"objective above it after {EPOCHS} epochs of mini-batches of 8")
    print()

    excess = {}
    for name, schedule in SCHEDULES.items():
        net = start.copy()
        objective = fastmlp.Objective(net, X, y, l2=L2)
        above = [objective.value() - minimum]

        def measure(progress, objective=objective, above=above):
            above.append(objective.value(progress.theta) - minimum)

        net.fit(
            X,
            y,
            l2=L2,
            optimizer=fastmlp.SGD(schedule),
            batch_size=8,
            epochs=EPOCHS,
            callbacks=[measure],
            seed=0,
        )
        excess[name] = above
        print(f"{name:<22}{above[-1]:10.6f}")
    if figure is not None:
        draw(figure, excess)


def draw(path, excess):
    """Learning rates, and the objective above its minimum, epoch by epoch: a panel each."""
    import numpy as np
    from matplotlib.figure import Figure

    epochs = np.arange(EPOCHS)
    figure = Figure(figsize=(1.8 * len(SCHEDULES), 4.4), dpi=150, layout="constrained")
    panels = figure.subplots(2, len(SCHEDULES), sharex=True, sharey="row")
    for (name, schedule), (above, below) in zip(SCHEDULES.items(), panels.T, strict=True):
        constant = np.full(EPOCHS, FIRST)
        rates = schedule.values(epochs) if name != "constant" else constant
        above.plot(epochs, rates, color="#0072B2", drawstyle="steps-post")
        above.set_title(name, fontsize=10)
        below.semilogy(excess["constant"], color="0.6", linewidth=1)
        below.semilogy(excess[name], color="#D55E00")
        for panel in (above, below):
            panel.grid(color="0.9", linewidth=0.7)
            panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("learning rate")
    panels[1, 0].set_ylabel("objective above its minimum")
    figure.supxlabel("epoch (grey: with the constant learning rate)", fontsize=10)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw rates and objectives into this file")
    main(parser.parse_args().figure)
