"""
Paths through a valley
======================

Rosenbrock's function is a curved valley with steep walls. Gradient descent has to take steps that
are short enough for the walls, and creeps along the floor; BFGS learns the curvature on its way
and walks along it.
"""

import matplotlib.pyplot as plt
import numpy as np

import fastmlp

problem = fastmlp.load_problem("rosenbrock")
function = problem.make_function(0)


def path(optimizer):
    """All iterates of an optimizer, and how many gradients they took."""
    points = []
    result = fastmlp.minimize(
        function,
        problem.make_start(0),
        optimizer=optimizer,
        max_iterations=100,
        callbacks=[lambda progress: points.append(progress.theta.copy())],
    )
    return np.array(points).T, result.n_grad_evals


grid_1, grid_2 = np.meshgrid(np.linspace(-1.6, 1.6, 200), np.linspace(-0.6, 1.8, 200))
heights = (1 - grid_1) ** 2 + 100 * (grid_2 - grid_1**2) ** 2

figure, panel = plt.subplots()
panel.contour(grid_1, grid_2, np.log1p(heights), 12, colors="0.8", linewidths=0.8)
for name, optimizer, marker in (
    ("gradient descent", fastmlp.GradientDescent(1e-3, line_search="fixed"), "s"),
    ("BFGS", fastmlp.BFGS(), "o"),
):
    points, n_gradients = path(optimizer)
    panel.plot(*points, marker=marker, markersize=3, label=f"{name}, {n_gradients} gradients")
panel.plot(1, 1, "k*", markersize=12, label="minimum")
panel.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$")
panel.legend(loc="upper center", fontsize="small")
plt.show()
