"""The command line of the comparison on real tables."""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from asv_bench.peers import machine
from asv_bench.peers.arguments import count
from asv_bench.peers.processes import Failed
from asv_bench.tables import report
from asv_bench.tables.data import TABLES
from asv_bench.tables.fits import Fit, Results, measure, measure_apart, plan

INTERRUPTED = 130

# What the tables and methods cannot do without.
NEEDED = {"sklearn": "scikit-learn", "pandas": "pandas"}

EPILOG = """
examples:
  python -m asv_bench.tables --output tables.json     everything, which takes hours
  python -m asv_bench.tables --methods fastmlp catboost --tables ames churn --seeds 1
  python -m asv_bench.tables --methods fastmlp no-dropout periodic    what a piece is worth
A run that was stopped goes on where it was, with the same --output.
"""


def build_parser(methods, pieces):
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.tables",
        description="Compare fastmlp's tabular estimators with others on real tables.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for option, names, others in (("--tables", TABLES, ()), ("--methods", methods, pieces)):
        told = f"; also fastmlp with a change each, {', '.join(others)}" if others else ""
        parser.add_argument(
            option,
            nargs="+",
            choices=[*names, *others],
            default=list(names),
            metavar="NAME",
            help=f"of {', '.join(names)}, default all{told}",
        )
    parser.add_argument(
        "--seeds", type=count, default=3, metavar="N", help="splits of each table; default 3"
    )
    parser.add_argument(
        "--threads",
        type=count,
        default=os.cpu_count(),
        metavar="N",
        help="of each method; default all cores",
    )
    parser.add_argument(
        "--output", metavar="FILE", help="a JSON file for all figures; fits in it are not made anew"
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser


def available(names, offered):
    """The names of what can be had here; of the others it is said why not."""
    found = []
    for name in dict.fromkeys(names):
        reason = offered[name].reason_to_skip()
        if reason is None:
            found.append(name)
        else:
            print(f"{name} is skipped: {reason}", file=sys.stderr)
    return found


def take(fits, results, n_threads):
    """Make all fits that are not there yet, and tell the outcome of each.

    A method that fails on a table is not tried there again.
    """
    hopeless = set()
    for fit in fits:
        if fit in results.done or (fit.table, fit.method) in hopeless:
            continue
        try:
            found = measure_apart(fit, n_threads)
        except Failed as reason:
            hopeless.add((fit.table, fit.method))
            print(f"  {fit.key}: left out: {reason}", file=sys.stderr, flush=True)
            continue
        results.add(fit, found)
        told = f"{found['error']:.4f} in {found['seconds']:.3g} s"
        print(f"  {fit.key}: {told}", file=sys.stderr, flush=True)


def described(methods, n_threads):
    """The machine and the versions in a sentence."""
    versions = []
    for distribution in dict.fromkeys(method.distribution for method in methods.values()):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{distribution} {importlib.metadata.version(distribution)}")
    return f"{machine.cpu_name()}, {n_threads} threads; {', '.join(versions)}"


def main(arguments=None):
    """Run the command; return its exit status."""
    for package, distribution in NEEDED.items():
        if importlib.util.find_spec(package) is None:
            message = f"{distribution} is not installed: pip install 'fastmlp[bench]'"
            print(f"python -m asv_bench.tables: error: {message}", file=sys.stderr)
            return 2
    # Not before: it needs both.
    from asv_bench.tables.peers import METHODS
    from asv_bench.tables.pieces import PIECES

    parser = build_parser(METHODS, PIECES)
    options = parser.parse_args(arguments)
    if options.one:
        print(json.dumps(measure(Fit.from_key(options.one), options.threads)))
        return 0
    if options.output and not Path(options.output).absolute().parent.is_dir():
        parser.error(f"--output needs a file in a folder that exists, got {options.output}")
    try:
        setting = {"cpu": machine.cpu_name(), "threads": options.threads}
        results = Results(options.output, setting)
    except ValueError as error:
        parser.error(f"--output {error}")
    tables, methods = (
        available(options.tables, TABLES),
        available(options.methods, METHODS | PIECES),
    )
    status = 0
    try:
        take(plan(tables, methods, options.seeds), results, options.threads)
    except KeyboardInterrupt:
        print("interrupted; what there is so far:", file=sys.stderr)
        status = INTERRUPTED
    print(described(METHODS, options.threads))
    if results.done:
        titles, changes = (
            {name: method.title for name, method in methods.items()}
            for methods in (METHODS, PIECES)
        )
        print(f"\n{report.as_text(results.done, titles, changes)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
