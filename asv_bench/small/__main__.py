"""The command line."""

import argparse
import json
import statistics
import sys

from asv_bench.peers import machine
from asv_bench.peers.arguments import count
from asv_bench.peers.libraries import installed
from asv_bench.peers.processes import Failed
from asv_bench.small import report
from asv_bench.small.tasks import TASKS, measure_apart, measure_here


def build_parser():
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.small",
        description="Time fits of milliseconds beside scikit-learn's, JAX's and PyTorch's.",
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASKS,
        default=list(TASKS),
        metavar="NAME",
        help=f"of {', '.join(TASKS)}; default all",
    )
    parser.add_argument("--rounds", type=count, default=3, help="default 3")
    parser.add_argument("--quick", action="store_true", help="does all of it work?")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    return parser


def measure_all(tasks, n_rounds, quick):
    """Measure all, in turn; return the tables' figures.

    Returns
    -------
    figures : dict
        As of `report.tables`.
    above_kernels : float or None
    """
    found: dict = {}
    try:
        for _ in range(n_rounds):
            for task in tasks:
                for library in task.libraries:
                    if library == "scipy" or installed(library):
                        _take(found, task.name, library, quick)
            _take(found, "above-kernels", "fastmlp", quick)
    except KeyboardInterrupt:
        print("interrupted; what there is so far:", file=sys.stderr)
    figures = {}
    for key, rounds in found.items():
        figures[key] = {
            name: statistics.median(one[name] for one in rounds if one[name] is not None)
            for name in rounds[0]
            if rounds[0][name] is not None
        }
    above = figures.pop(("above-kernels", "fastmlp"), None)
    return figures, above and above["seconds"]


def _take(found, name, library, quick):
    try:
        one = measure_apart(name, library, quick)
    except Failed as reason:
        print(f"{name}, {library}: left out: {reason}", file=sys.stderr)
        return
    print(f"{name}, {library}: {1e3 * one['seconds']:.3g} ms", file=sys.stderr)
    found.setdefault((name, library), []).append(one)


def main(arguments=None):
    """Run the command."""
    options = build_parser().parse_args(arguments)
    if options.one:
        print(json.dumps(measure_here(*options.one, options.quick)))
        return
    tasks = [TASKS[name] for name in dict.fromkeys(options.tasks)]
    figures, above = measure_all(tasks, options.rounds, options.quick)
    print(f"{machine.describe(machine.inspect())}\n")
    print(report.tables(tasks, figures, above))
    if options.quick:
        print("\nA quick look at few epochs: no figures to publish.")


if __name__ == "__main__":
    main()
