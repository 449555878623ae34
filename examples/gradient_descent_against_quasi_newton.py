"""Gradient descent against quasi-Newton methods: a small network and a larger one.

SIN is a network 1-5-1 with 16 parameters, on 41 points of a sine: all that a gradient costs are
microseconds, and curvature is everything. The digits are 1438 images for a network with 6570
parameters: there a pass of mini-batches is 45 updates for the price of one gradient.

Every optimizer starts from the same parameters, five times, and has the same budget.
"""

import argparse
import textwrap
from pathlib import Path

import fastmlp

OPTIMIZERS = {
    "sin": {
        "gradient descent": fastmlp.GradientDescent(),
        "Adam": fastmlp.Adam(0.03),
        "conjugate gradients": fastmlp.ConjugateGradient(),
        "L-BFGS": fastmlp.LBFGS(),
        "BFGS": fastmlp.BFGS(),
        "DFP": fastmlp.DFP(),
    },
    "digits": {
        "gradient descent": fastmlp.GradientDescent(),
        "SGD with momentum": fastmlp.SGD(0.1, momentum=0.9),
        "Adam": fastmlp.Adam(0.003),
        "conjugate gradients": fastmlp.ConjugateGradient(),
        "L-BFGS": fastmlp.LBFGS(),
        "Adam, then L-BFGS": [fastmlp.Adam(0.003, epochs=20), fastmlp.LBFGS()],
    },
}
PASSES = {"sin": 1000, "digits": 100}


def main(figure=None):
    for name, optimizers in OPTIMIZERS.items():
        comparisons = fastmlp.compare_problems(
            [name], optimizers, passes=PASSES[name], seeds=5, n_threads=1
        )
        print(textwrap.fill(f"{name}: {fastmlp.load_problem(name).description}", 100))
        print()
        print(comparisons[name])
        print()
        if figure is not None:
            path = Path(figure)
            comparisons[name].plot(path.with_stem(f"{path.stem}_{name}"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--figure",
        metavar="PATH",
        help="draw two figures, x_sin.png and x_digits.png for x.png",
    )
    main(parser.parse_args().figure)
