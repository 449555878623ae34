"""The paths of optimizers through Rosenbrock's curved valley.

f(theta) = (1 - theta_1)^2 + 100 (theta_2 - theta_1^2)^2, from (-1.2, 1), has its minimum 0 at
(1, 1). Its valley is narrow, so that the gradient mostly points across it: steepest descent goes
to and fro. Quasi-Newton methods learn the curvature from the gradients they have seen and follow
the valley.
"""

import argparse

import fastmlp
from fastmlp.plotting import plot_paths

OPTIMIZERS = {
    "fixed step": fastmlp.GradientDescent(1e-3, line_search="fixed"),
    "steepest descent": fastmlp.GradientDescent(line_search="strong_wolfe"),
    "momentum": fastmlp.SGD(1e-3, momentum=0.9),
    "Adam": fastmlp.Adam(0.1),
    "conjugate gradients": fastmlp.ConjugateGradient(),
    "DFP": fastmlp.DFP(),
    "BFGS": fastmlp.BFGS(),
    "L-BFGS": fastmlp.LBFGS(),
}


def main(figure=None):
    problem = fastmlp.load_problem("rosenbrock")
    function = problem.make_function(0)
    paths = {}
    print(f"{'':<20}{'iterations':>11}{'gradients':>11}{'f':>10}   theta")
    for name, optimizer in OPTIMIZERS.items():
        path = []
        result = fastmlp.minimize(
            function,
            problem.make_start(0),
            optimizer=optimizer,
            max_iterations=2000,
            target_loss=1e-6,
            callbacks=[lambda progress, path=path: path.append(progress.theta.copy())],
            seed=0,
        )
        paths[name] = path
        print(
            f"{name:<20}{result.n_iter:>11,}{result.n_grad_evals:>11,}{result.loss:>10.1e}   "
            f"({result.theta[0]:.4f}, {result.theta[1]:.4f})  {result.status}"
        )
    if figure is not None:
        drawn = plot_paths(lambda x: function(x)[0], paths, minimum=problem.minimum)
        drawn.savefig(figure, dpi=100)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw the paths into this file")
    main(parser.parse_args().figure)
