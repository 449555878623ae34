"""Rosenbrock's valley with noise of standard deviation 30 on the value and on the gradient.

f(theta) = (1 - theta_1)^2 + 100 (theta_2 - theta_1^2)^2, from (-1.2, 1) with f = 24.2 to (1, 1).
Every evaluation has its own noise N(0, 30^2), on the value and on each component of the gradient.
A deterministic method takes noise for curvature, and for the end of what can be gained. 100 runs
each, with other noise, of BFGS and of four methods that heed noise; on two cores it takes a minute.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import numpy as np

import fastmlp

# The steps of the two limited-memory methods are short by themselves, as the largest curvature
# demands, and must not shrink before they have come along the valley.
OPTIMIZERS = {
    "BFGS": fastmlp.BFGS(),
    "BFGS of SciPy": fastmlp.Scipy("BFGS"),
    "StochasticLBFGS": fastmlp.StochasticLBFGS(decay=1000.0),
    "LeastSquaresNewton": fastmlp.LeastSquaresNewton(decay=1000.0),
    "GaussianProcessNewton": fastmlp.GaussianProcessNewton(),
    "NoiseTolerantBFGS": fastmlp.NoiseTolerantBFGS(),
}
BUDGETS = (1_000, 10_000)
N_RUNS = 100


def points_at_budgets(name, seed):
    """Where a run is when it has spent each budget of gradients, or where it stopped before."""
    problem = fastmlp.load_problem("noisy_rosenbrock")
    points = []

    def note(progress):
        if progress.record.n_grad_evals >= BUDGETS[len(points)]:
            points.append(progress.theta.copy())
            if len(points) == len(BUDGETS):
                raise StopIteration

    result = fastmlp.minimize(
        problem.make_function(seed),
        problem.make_start(0),
        optimizer=OPTIMIZERS[name],
        max_iterations=BUDGETS[-1],
        callbacks=[note],
        seed=seed,
    )
    points += [result.theta] * (len(BUDGETS) - len(points))
    return np.array(points), result.n_grad_evals


def quartiles(values):
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:6.2f} ({low:.2f} to {high:.2f})"


def main(figure=None, n_runs=N_RUNS):
    problem = fastmlp.load_problem("noisy_rosenbrock")
    print(f"{n_runs} runs: medians, and quartiles in parentheses")
    print(f"{'':<22}{'gradients':>9}  {'distance from (1, 1)':<23}{'f without noise':<23}")
    ends = {}
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        for name in OPTIMIZERS:
            runs = list(pool.map(partial(points_at_budgets, name), range(n_runs), chunksize=5))
            points = np.array([found for found, _ in runs])
            spent = np.median([n_evals for _, n_evals in runs])
            for k, budget in enumerate(BUDGETS):
                if k == 0 and spent < budget:
                    continue  # it has stopped by then
                distances = np.linalg.norm(points[:, k] - problem.minimum, axis=1)
                values = [problem.exact(x)[0] for x in points[:, k]]
                print(
                    f"{name:<22}{min(budget, spent):>9,.0f}  "
                    f"{quartiles(distances):<23}{quartiles(values):<23}".rstrip(),
                    flush=True,
                )
            ends[name] = points[:, -1]
    if figure is not None:
        draw(problem, ends, figure)


def draw(problem, ends, path):
    """All ends over the contours of the function, and the spread of their distances."""
    from matplotlib.figure import Figure

    names = [name for name in ends if name != "BFGS of SciPy"]
    drawn = Figure(figsize=(12, 7.6), layout="constrained")
    panels = drawn.subplots(2, 3).ravel()
    x, y = np.meshgrid(np.linspace(-2.2, 2.2, 221), np.linspace(-1.2, 4.2, 271))
    heights = (1 - x) ** 2 + 100 * (y - x * x) ** 2
    for panel, name, colour in zip(panels, names, COLOURS, strict=False):
        lines = panel.contour(
            x, y, heights, levels=[1, 10, 100, 1000], colors="0.65", linewidths=0.9
        )
        panel.clabel(lines, fmt="%d", fontsize=8, colors="0.35")
        panel.plot(
            *ends[name].T, "o", color=colour, markersize=5, alpha=0.6, markeredgewidth=0, zorder=3
        )
        panel.plot(*problem.make_start(0), "o", color="white", markeredgecolor="black", zorder=4)
        panel.plot(
            *problem.minimum, "*", color="#F0E442", markeredgecolor="black", markersize=15, zorder=5
        )
        outside = np.sum((np.abs(ends[name][:, 0]) > 2.2) | (np.abs(ends[name][:, 1] - 1.5) > 2.7))
        panel.set_title(name if not outside else f"{name} ({outside} outside)")
        panel.set(xlim=(-2.2, 2.2), ylim=(-1.2, 4.2), xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
    panel = panels[-1]
    for k, (name, colour) in enumerate(zip(names, COLOURS, strict=True)):
        distances = np.linalg.norm(ends[name] - problem.minimum, axis=1)
        lowest, low, median, high, highest = np.percentile(distances, [5, 25, 50, 75, 95])
        panel.plot([lowest, highest], [k, k], color=colour, linewidth=1.5)
        panel.plot([low, high], [k, k], color=colour, linewidth=9, alpha=0.6, solid_capstyle="butt")
        panel.plot(median, k, "|", color="black", markersize=16, markeredgewidth=2.5)
        panel.text(0.03, k - 0.28, name)
    panel.set(xlim=(0, None), ylim=(len(names) - 0.5, -0.7), yticks=[])
    panel.set(xlabel="distance from the minimum", title="medians, quartiles, 5% and 95%")
    drawn.suptitle(
        f"{len(ends[names[0]])} runs each on noisy Rosenbrock, where BFGS stops and after "
        f"{BUDGETS[-1]:,} gradients; circle: start, star: minimum"
    )
    drawn.savefig(path, dpi=100)


# Okabe & Ito's, which are told apart with any kind of colour vision.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw the ends of all runs into this file")
    parser.add_argument(
        "--runs",
        type=int,
        default=N_RUNS,
        metavar="N",
        help="of each method (default: %(default)s)",
    )
    arguments = parser.parse_args()
    main(arguments.figure, arguments.runs)
