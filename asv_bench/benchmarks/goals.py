"""Time to a goal from many starts: SIN and PARITY of MathWorks' comparison, see `fastmlp.problems`.

Without asv: ``python -m asv_bench.benchmarks.goals`` prints a table.
"""

import numpy as np

import fastmlp

# As many as there.
STARTS = 30
_TO_THE_GOAL = {"gradient_tolerance": 0.0, "objective_tolerance": 0.0}
OPTIMIZERS = {
    "LevenbergMarquardt": fastmlp.LevenbergMarquardt(**_TO_THE_GOAL),
    "BFGS": fastmlp.BFGS(**_TO_THE_GOAL),
    "LBFGS": fastmlp.LBFGS(**_TO_THE_GOAL),
    "SciPy's BFGS": fastmlp.Scipy("BFGS", options={"gtol": 0.0}),
}
PROBLEMS = ("sin", "parity")


def seconds_to_goal(problem, optimizer, starts=STARTS):
    """Seconds from each start, infinite where the goal was not reached; an array (starts,)."""
    problem = fastmlp.load_problem(problem)
    seconds = np.full(starts, np.inf)
    for seed in range(starts):
        result = problem.make_net(seed).fit(
            problem.X,
            problem.y,
            loss=problem.loss,
            optimizer=OPTIMIZERS[optimizer],
            epochs=2000,
            target_loss=problem.target,
        )
        if result.status == fastmlp.Status.TARGET_REACHED:
            seconds[seed] = result.trace[-1].seconds
    return seconds


class Goals:
    """Median over the starts of the seconds to the goal, the least of three rounds."""

    params = (PROBLEMS, list(OPTIMIZERS))
    param_names = ("problem", "optimizer")
    timeout = 300
    unit = "seconds"

    def setup(self, problem, optimizer):
        seconds_to_goal(problem, optimizer, starts=2)

    def track_median(self, problem, optimizer):
        return min(float(np.median(seconds_to_goal(problem, optimizer))) for _ in range(3))


def main(rounds=5):
    """Print the table: the least of the rounds, each of all optimizers in turn."""
    for problem in PROBLEMS:
        seconds = {name: [] for name in OPTIMIZERS}
        for _ in range(1 + rounds):
            for name, results in seconds.items():
                results.append(seconds_to_goal(problem, name))
        # The first round also compiles and warms up.
        fastest = {
            name: min(float(np.median(result)) for result in results[1:])
            for name, results in seconds.items()
        }
        for name, results in seconds.items():
            reached = int(np.isfinite(results[0]).sum())
            ratio = fastest[name] / fastest["LevenbergMarquardt"]
            print(
                f"{problem:<8}{name:<20}{reached:>3} of {STARTS} starts"
                f"{1e3 * fastest[name]:10.2f} ms{ratio:8.1f}x"
            )


if __name__ == "__main__":
    main()
