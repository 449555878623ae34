"""Time to a goal on small networks, over many starts: MathWorks' SIN and PARITY.

Hagan & Menhaj's problems and goals, as in MathWorks' "Choose a Multilayer Neural Network Training
Function". Without asv: ``python -m asv_bench.benchmarks.goals`` prints a table.
"""

import numpy as np

import fastmlp

# In float64, to the goal or the end: 30 starts as there.
STARTS = 30
_TO_THE_GOAL = {"gradient_tolerance": 0.0, "objective_tolerance": 0.0}
OPTIMIZERS = {
    "LevenbergMarquardt": fastmlp.LevenbergMarquardt(**_TO_THE_GOAL),
    "LBFGS": fastmlp.LBFGS(**_TO_THE_GOAL),
    "SciPy's BFGS": fastmlp.Scipy("BFGS", options={"gtol": 0.0}),
}


def sin():
    """One period of the sine at 41 points, network 1-5-1, mean squared error 0.002."""
    x = np.arange(-20, 21) / 20
    return [1, 5, 1], "identity", x[:, None], np.sin(np.pi * x), 0.002


def parity():
    """Parity of three bits, network 3-10-10-1, mean squared error 0.001."""
    bits = np.array([[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(8)]) * 2.0 - 1
    return [3, 10, 10, 1], "tanh", bits, bits.prod(axis=1), 0.001


PROBLEMS = {"SIN": sin, "PARITY": parity}


def seconds_to_goal(problem, optimizer, starts=STARTS):
    """Seconds from each start, infinite where the goal was not reached; arrays (starts,)."""
    sizes, output, X, y, goal = PROBLEMS[problem]()
    seconds = np.full(starts, np.inf)
    for seed in range(starts):
        net = fastmlp.MLP(sizes, activation="tanh", output=output, dtype="float64", seed=seed)
        result = net.fit(
            X,
            y,
            loss="squared_error",
            optimizer=OPTIMIZERS[optimizer],
            epochs=2000,
            target_loss=goal / 2,  # squared_error is half of it
        )
        if result.status == fastmlp.Status.TARGET_REACHED:
            seconds[seed] = result.trace[-1].seconds
    return seconds


class Goals:
    """Median over the starts of the seconds to the goal, the least of three rounds."""

    params = (list(PROBLEMS), list(OPTIMIZERS))
    param_names = ("problem", "optimizer")
    timeout = 300
    unit = "seconds"

    def setup(self, problem, optimizer):
        seconds_to_goal(problem, optimizer, starts=2)

    def track_median(self, problem, optimizer):
        return min(float(np.median(seconds_to_goal(problem, optimizer))) for _ in range(3))


def main():
    """Print the table, all methods in each round."""
    for problem in PROBLEMS:
        rounds = {name: [] for name in OPTIMIZERS}
        for name in OPTIMIZERS:
            seconds_to_goal(problem, name, starts=2)
        for _ in range(3):
            for name, results in rounds.items():
                results.append(seconds_to_goal(problem, name))
        fastest = {
            name: min(float(np.median(seconds)) for seconds in results)
            for name, results in rounds.items()
        }
        for name, results in rounds.items():
            reached = int(np.isfinite(results[0]).sum())
            ratio = fastest[name] / fastest["LevenbergMarquardt"]
            print(
                f"{problem:<8}{name:<20}{reached:>3} of {STARTS}{1e3 * fastest[name]:10.2f} ms"
                f"{ratio:8.1f}x"
            )


if __name__ == "__main__":
    main()
