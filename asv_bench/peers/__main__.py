"""The command line of the comparison."""

import argparse
import sys
from pathlib import Path

from asv_bench.peers import libraries, machine, minimization_report, report, tasks
from asv_bench.peers.arguments import count
from asv_bench.peers.figures import FIGURES
from asv_bench.peers.minimizations import MINIMIZATIONS, MINIMIZERS, can_run, run_here
from asv_bench.peers.rounds import Results, plan

INTERRUPTED = 130

# Enough for networks by the dozen: compiling each takes a minute.
PEERS_OF_NETWORKS = ("jax", "torch")

EPILOG = """
examples:
  python -m asv_bench.peers --markdown --json peers.json   the table in README
  python -m asv_bench.peers --workloads online mnist512 --threads 1 --rounds 5
  python -m asv_bench.peers --random 20 --seed 3           is it slower anywhere?
  python -m asv_bench.peers --network 20-64-64-1:tanh:64   a look at one network
  python -m asv_bench.peers --pieces                       layer norm, dropout, embeddings, ...
  python -m asv_bench.peers --lbfgs                        full-batch L-BFGS
  python -m asv_bench.peers --figures                      calls, start-up and memory
"""


def build_parser():
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m asv_bench.peers",
        description="Time fastmlp and its peers side by side.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_argument_group("what to measure, by default all workloads")
    what.add_argument(
        "--workloads",
        nargs="+",
        choices=tasks.TRAINING,
        metavar="NAME",
        help=f"training: {', '.join(tasks.TRAINING)}",
    )
    what.add_argument(
        "--pieces",
        nargs="*",
        choices=tasks.PIECES,
        metavar="NAME",
        help="training of networks with pieces beyond dense layers: all, or those named: "
        f"{', '.join(tasks.PIECES)}",
    )
    what.add_argument(
        "--figures",
        nargs="*",
        choices=[*tasks.CALLS, *FIGURES],
        metavar="NAME",
        help="all, or those named: beside peers "
        f"{', '.join(tasks.CALLS)}; of fastmlp alone {', '.join(FIGURES)}",
    )
    what.add_argument(
        "--network",
        nargs="+",
        type=_network,
        metavar="SPECIFICATION",
        help="plain networks trained with Adam, as sizes:activation:batch for the squared error "
        "or sizes:activation:batch:softmax, such as 20-64-64-1:tanh:64",
    )
    what.add_argument(
        "--random",
        type=count,
        metavar="N",
        help="N random networks: widths 1 to 2048, 1 to 8 hidden layers, batch 1 to 4096",
    )
    what.add_argument(
        "--lbfgs",
        nargs="*",
        choices=MINIMIZATIONS,
        metavar="NAME",
        help=f"full-batch L-BFGS on all, or those named: {', '.join(MINIMIZATIONS)}",
    )
    what.add_argument("--seed", type=int, default=0, help="of the random networks; default 0")
    how = parser.add_argument_group("how")
    how.add_argument(
        "--peers",
        nargs="*",
        choices=libraries.PEERS,
        metavar="NAME",
        help=f"of {', '.join(libraries.PEERS)}; default all, for --network and --random "
        f"{' and '.join(PEERS_OF_NETWORKS)}",
    )
    how.add_argument("--threads", nargs="+", type=count, default=[1, 2], metavar="N")
    how.add_argument("--rounds", type=count, default=3, metavar="N")
    output = parser.add_argument_group("output")
    output.add_argument("--markdown", action="store_true", help="print the table in Markdown")
    output.add_argument("--json", metavar="FILE", help="write all figures to a file")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--minimize", nargs=3, help=argparse.SUPPRESS)
    return parser


def _network(text):
    try:
        return tasks.network(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def chosen(options):
    """What the options ask for.

    Returns
    -------
    timed : list of (Task, list of str)
        Tasks and the libraries to time at each, installed or not, fastmlp first.
    figures : list of str
        Names of FIGURES.
    minimized : list of (Minimization, list of str)
        Problems and the minimizers to run on each, installed or not.
    """
    networks = options.network or []
    if options.random:
        networks = [*networks, *tasks.random_networks(options.random, options.seed)]
    figures = options.figures
    if figures is not None and not figures:
        figures = [*tasks.CALLS, *FIGURES]
    workloads = options.workloads
    pieces = options.pieces
    if pieces is not None and not pieces:
        pieces = tasks.PIECES
    minimized = []
    if options.lbfgs is not None:
        minimized = [MINIMIZATIONS[name] for name in options.lbfgs or MINIMIZATIONS]
    if all(asked is None for asked in (workloads, pieces, figures)) and not (networks or minimized):
        workloads = tasks.TRAINING
    named = [tasks.TRAINING[name] for name in workloads or []]
    named += [tasks.PIECES[name] for name in pieces or []]
    named += [tasks.CALLS[name] for name in figures or [] if name in tasks.CALLS]
    timed = []
    for task in dict.fromkeys([*named, *networks]):
        default = libraries.PEERS if task in named else PEERS_OF_NETWORKS
        peers = default if options.peers is None else options.peers
        able = [x for x in peers if task.kind in libraries.LIBRARIES[x].kinds]
        timed.append((task, [libraries.OURS, *able]))
    return (
        timed,
        [name for name in figures or [] if name in FIGURES],
        [(problem, list(problem.minimizers)) for problem in dict.fromkeys(minimized)],
    )


def without_missing(timed, skipped):
    """Leave out the libraries that are not installed, say so, and add them to `skipped`."""
    for library in dict.fromkeys(library for _, names in timed for library in names):
        if not libraries.installed(library):
            title = libraries.LIBRARIES[library].title
            print(f"{title} is not installed: skipped", file=sys.stderr)
            skipped.append(library)
    return [(task, [x for x in names if x not in skipped]) for task, names in timed]


def minimizers_without_missing(minimized):
    """Leave out the minimizers that need what is not installed, and say so."""
    for minimizer in dict.fromkeys(m for _, minimizers in minimized for m in minimizers):
        if not can_run(minimizer):
            print(f"{MINIMIZERS[minimizer].title} is not installed: skipped", file=sys.stderr)
    return [(problem, list(filter(can_run, minimizers))) for problem, minimizers in minimized]


def write(results, timed, minimized, options):
    """Print the tables, and write the file if one is asked for."""
    values = results.values
    rows = report.rows_with_medians(results, timed, options.threads)
    figures = report.figures_of(values)
    runs = minimization_report.rows_of(values, minimized, options.threads)
    layout = report.as_markdown if options.markdown else report.as_text
    inspected = machine.inspect()
    print(machine.describe(inspected))
    if rows:
        print(f"\n{layout(report.cells_of(rows))}")
    if figures:
        print(f"\n{layout(report.cells_of_figures(figures))}")
    if runs:
        print(f"\n{layout(minimization_report.cells_of_runs(runs))}")
        print(f"\n{layout(minimization_report.cells_of_ratios(runs))}")
    notes = report.notes_on(results, rows, options.rounds) + minimization_report.notes_on(runs)
    if notes:
        print("", *notes, sep="\n")
    if options.json:
        content = report.as_json(inspected, results, rows, runs, options.rounds)
        Path(options.json).write_text(content, encoding="utf-8")


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.one:
        what, name, threads = options.one
        print(libraries.measure(what, name, int(threads)))
        return 0
    if options.minimize:
        minimizer, name, threads = options.minimize
        print(run_here(minimizer, name, int(threads)))
        return 0
    if options.json and not Path(options.json).absolute().parent.is_dir():
        parser.error(f"--json needs a file in a folder that exists, got {options.json}")
    timed, figures, minimized = chosen(options)
    results, status = Results(), 0
    timed = without_missing(timed, results.skipped)
    minimized = minimizers_without_missing(minimized)
    measurements = plan(timed, figures, minimized, options.threads)
    try:
        for n_round in range(1, options.rounds + 1):
            print(f"round {n_round} of {options.rounds}", file=sys.stderr)
            for measurement in measurements:
                results.take(measurement)
    except KeyboardInterrupt:
        print("interrupted; what there is so far:", file=sys.stderr)
        status = INTERRUPTED
    write(results, timed, minimized, options)
    return status


if __name__ == "__main__":
    sys.exit(main())
