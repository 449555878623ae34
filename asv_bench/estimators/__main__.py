"""The command line of the comparison with scikit-learn."""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

from asv_bench.estimators import report
from asv_bench.estimators.data import DATA_SETS
from asv_bench.estimators.fits import QUICK_SEEDS, Fit, Results, measure, plan
from asv_bench.peers import machine
from asv_bench.peers.arguments import count
from asv_bench.peers.report import as_markdown, as_text

INTERRUPTED = 130

# Whose versions matter here.
PACKAGES = ("fastmlp", "scikit-learn", "numpy", "numba", "scipy")

EPILOG = """
examples:
  python -m asv_bench.estimators --markdown --json estimators.json   the table in the documentation
  python -m asv_bench.estimators --datasets digits wine --seeds 3
  python -m asv_bench.estimators --quick                             does all of it work?
"""


def build_parser():
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.estimators",
        description="Compare fastmlp's estimators with scikit-learn's: scores and times.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--datasets",
        nargs="+",
        choices=DATA_SETS,
        default=list(DATA_SETS),
        metavar="NAME",
        help=f"of {', '.join(DATA_SETS)}; default all",
    )
    parser.add_argument(
        "--seeds",
        type=count,
        metavar="N",
        help="fits of each; default 10, of mnist and flights 3",
    )
    parser.add_argument(
        "--quick", action="store_true", help=f"few rows, few epochs, {QUICK_SEEDS} seeds"
    )
    parser.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    parser.add_argument("--json", metavar="FILE", help="write all figures to a file")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    return parser


def without_missing(names, skipped):
    """Leave out the data sets that cannot be had here, say so, and add them to `skipped`."""
    found = []
    for name in dict.fromkeys(names):
        reason = DATA_SETS[name].reason_to_skip()
        if reason is None:
            found.append(name)
        else:
            print(f"{DATA_SETS[name].title} is skipped: {reason}", file=sys.stderr)
            skipped[name] = reason
    return found


def write(results, options):
    """Print the table, and write the file if one is asked for."""
    rows = report.rows_of(results.done)
    inspected = machine.inspect()
    versions = inspected["versions"]
    inspected["versions"] = {x: versions[x] for x in PACKAGES if x in versions}
    print(machine.describe(inspected))
    if rows:
        layout = as_markdown if options.markdown else as_text
        print(f"\n{layout(report.cells_of(rows))}")
    if notes := report.notes_on(results, rows, options.quick):
        print("", *notes, sep="\n")
    if options.json:
        content = report.as_json(inspected, results, rows, options.quick)
        Path(options.json).write_text(content, encoding="utf-8")


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        parser.error("scikit-learn is not installed: pip install 'fastmlp[bench]'")
    if options.one:
        data_set, units, seed, library = options.one
        found = measure(Fit(data_set, int(units), int(seed), library), options.quick)
        print(json.dumps(found))
        return 0
    if options.json and not Path(options.json).absolute().parent.is_dir():
        parser.error(f"--json needs a file in a folder that exists, got {options.json}")
    results, status = Results(), 0
    data_sets = without_missing(options.datasets, results.skipped)
    n_seeds = options.seeds or (QUICK_SEEDS if options.quick else None)
    try:
        for fit in plan(data_sets, n_seeds):
            results.take(fit, options.quick)
    except KeyboardInterrupt:
        print("interrupted; what there is so far:", file=sys.stderr)
        status = INTERRUPTED
    write(results, options)
    return status


if __name__ == "__main__":
    sys.exit(main())
