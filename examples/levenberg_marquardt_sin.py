"""A sine by five hidden units: Levenberg-Marquardt against quasi-Newton methods.

SIN of MathWorks' comparison of training functions: one cycle of the sine at 41 points, a network
1-5-1 with tanh, trained to a mean squared error of 0.002 from 30 starts. Quasi-Newton methods see
one gradient a step and need many steps to learn the curvature from their differences.
Levenberg-Marquardt sees the derivative of every residual, and so has the better part of the
Hessian at once; it pays with a backward pass for each output, here one, and a linear system of the
size of theta, here 16.
"""

import argparse

import numpy as np

import fastmlp

STARTS = 30
REPEATS = 3  # of which the fastest counts: other programs run too
TO_THE_GOAL = {"gradient_tolerance": 0.0, "objective_tolerance": 0.0}
OPTIMIZERS = {
    "Levenberg-Marquardt": fastmlp.LevenbergMarquardt(**TO_THE_GOAL),
    "BFGS": fastmlp.BFGS(**TO_THE_GOAL),
    "L-BFGS": fastmlp.LBFGS(**TO_THE_GOAL),
    "BFGS of SciPy": fastmlp.Scipy("BFGS", options={"gtol": 0.0}),
}


def train(problem, optimizer, seed):
    """Train from one start to the goal; return the result, the fastest of some."""
    runs = [
        problem.make_net(seed).fit(
            problem.X,
            problem.y,
            optimizer=optimizer,
            epochs=2000,
            target_loss=problem.target,
        )
        for _ in range(REPEATS)
    ]
    return min(runs, key=lambda run: run.trace[-1].seconds)


def main(figure=None):
    problem = fastmlp.load_problem("sin")
    print(f"medians over {STARTS} starts to a mean squared error of {2 * problem.target:g}")
    print()
    print(f"{'':<22}{'goal reached':>12}{'iterations':>12}{'gradients':>11}{'time':>11}{'':>7}")
    results, reference = {}, None
    for name, optimizer in OPTIMIZERS.items():
        results[name] = [train(problem, optimizer, seed) for seed in range(STARTS)]
        last = [result.trace[-1] for result in results[name]]
        reached = sum(r.status == fastmlp.Status.TARGET_REACHED for r in results[name])
        seconds = np.median([record.seconds for record in last])
        reference = reference or seconds
        print(
            f"{name:<22}{reached:>9}/{STARTS}"
            f"{np.median([record.epoch for record in last]):12.1f}"
            f"{np.median([record.n_grad_evals for record in last]):11.1f}"
            f"{1e3 * seconds:8.2f} ms{seconds / reference:6.1f}x"
        )
    if figure is not None:
        draw(figure, problem, results)


def draw(path, problem, results):
    """The network on its way with Levenberg-Marquardt, and the objective from all starts."""
    from matplotlib.figure import Figure

    colors = dict(zip(OPTIMIZERS, ("#0072B2", "#D55E00", "#009E73", "#999999"), strict=True))
    figure = Figure(figsize=(9, 3.8), dpi=150, layout="constrained")
    fit, descent = figure.subplots(1, 2)
    net, x = problem.make_net(0), np.linspace(-1, 1, 401)
    fit.plot(problem.X[:, 0], problem.y, "o", color="0.6", markersize=4, label="data")
    shades = {0: 0.75, 3: 0.5, 6: 0.25, 9: 0.0}

    def plot(progress):
        epoch = progress.record.epoch
        if epoch in shades:
            color = 1 - (1 - np.array([0, 0.447, 0.698])) * (1 - shades[epoch])
            outputs = progress.network.predict(x[:, None])
            fit.plot(x, outputs, color=color, label=f"after {epoch} iterations")

    net.fit(problem.X, problem.y, optimizer=OPTIMIZERS["Levenberg-Marquardt"], callbacks=[plot])
    fit.set(xlabel="x", ylabel="output", title="Levenberg-Marquardt")
    fit.legend(fontsize=8)
    for name, runs in results.items():
        for i, run in enumerate(runs):
            descent.loglog(
                run.trace["n_grad_evals"],
                run.trace["objective"],
                color=colors[name],
                linewidth=0.6,
                alpha=0.6,
                label=name if i == 0 else None,
            )
    descent.axhline(problem.target, color="black", linewidth=1, linestyle="--")
    descent.set(xlabel="gradient evaluations", ylabel="objective", title=f"{STARTS} starts")
    for line in descent.legend(fontsize=8).get_lines():
        line.set(linewidth=2, alpha=1)
    for panel in (fit, descent):
        panel.grid(color="0.9", linewidth=0.7)
        panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw fits and descents into this file")
    main(parser.parse_args().figure)
