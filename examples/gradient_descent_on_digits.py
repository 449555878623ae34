"""Gradient descent, stochastic gradient descent and mini-batches, on the handwritten digits.

The objective is a mean over samples, J(theta) = (1/n) sum_i L_i(theta). Gradient descent takes
its gradient over all n samples for one step; stochastic gradient descent that of one sample drawn
at random; a mini-batch lies between. In one pass over the data they do 1, n and n / batch size
updates.
"""

import argparse

import fastmlp
from fastmlp import SGD

PASSES = 20

# Batch size and learning rate, the best of 0.003, 0.01, 0.03, ... 1 for that batch size.
RUNS = {
    "gradient descent": (None, SGD(0.3)),
    "mini-batches of 128": (128, SGD(0.1)),
    "mini-batches of 32": (32, SGD(0.3)),
    "mini-batches of 8": (8, SGD(0.1)),
    "stochastic, one sample": (1, SGD(0.03)),
}


def main(figure=None):
    problem = fastmlp.load_problem("digits")
    net = problem.make_net(0)
    n = len(problem.X)
    for name, (batch_size, optimizer) in RUNS.items():
        updates = -(-n // (batch_size or n))
        print(f"{name:<24}{updates:>6,} updates a pass, learning rate {optimizer.learning_rate}")
    print()
    comparison = fastmlp.compare(
        net,
        problem.X,
        problem.y,
        {name: optimizer for name, (_, optimizer) in RUNS.items()},
        batch_size={name: batch_size for name, (batch_size, _) in RUNS.items()},
        passes=PASSES,
        l2=problem.l2,
        validation_data=problem.validation_data,
        seeds=5,
        n_threads=1,
    )
    print(comparison)
    if figure is not None:
        comparison.plot(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw the objectives into this file")
    main(parser.parse_args().figure)
