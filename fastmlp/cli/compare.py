"""fastmlp compare: optimizers side by side."""

import argparse
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from fastmlp.cli.console import DONE, INTERRUPTED, say
from fastmlp.cli.network_data import count_classes, describe_task, rounded_rows, split_rows
from fastmlp.cli.options import (
    EXIT_STATUSES,
    HIDDEN,
    MOST_CLASSES,
    add_hidden,
    add_run_options,
    names,
    sizes,
    split_outside,
)
from fastmlp.cli.streams import opened

# Data passes of a comparison; a known problem, with few data or none, takes more.
_PASSES = 50
_PASSES_ON_PROBLEMS = 500

# Optimizers for known problems, where nobody names others: fit for all of them.
_FOR_PROBLEMS = "gradient_descent,adam(learning_rate=0.01),conjugate_gradient,lbfgs"

# What the amounts of --budget end with, and the argument of `compare` that they stand for.
_UNITS = {"s": "time_limit", "passes": "passes", "evals": "gradient_evaluations"}


def add_parser(commands):
    parser = commands.add_parser(
        "compare",
        help="compare optimizers on the shipped digits, on a CSV file or on known problems",
        description="""\
Give several optimizers the same starts, objective and budget, and show how far each came.

Without options they train one network on the 1797 handwritten digits shipped with fastmlp:
gradient descent, stochastic gradient descent with momentum, Adam and L-BFGS. With --data they
train it on a CSV file, with --problems they are set problems whose answers are known, networks
or functions. A pass over the data is an epoch of mini-batches, or one evaluation of the whole
objective and its gradient; of a function it is one evaluation.

Prints a table: where each ended, what it cost and why it stopped; on digits and files the score
is that of a fifth of the rows, held out. Writes into the folder --out: traces.csv, a line for
each optimizer, seed and epoch or iteration; comparison.json, all there is to know;
comparison.html, a page with tables and figures; and, if matplotlib is installed, the figures by
themselves; of problems each has a folder there. Older ones are replaced.""",
        epilog="""\
example:
  fastmlp compare --passes 100 --hidden 32,16 --out digits
  fastmlp compare --data flowers.csv --column species --budget 10s --seeds 5 \\
      --optimizers "adam(learning_rate=3e-3),lbfgs,adam(epochs=20)+lbfgs"
  fastmlp compare --problems sin,parity,rosenbrock --optimizers lbfgs,adam --seeds 10

"""
        + EXIT_STATUSES,
    )
    parser.set_defaults(run=_compare)
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="CSV file to train on, with a header line and numbers only; may be compressed by "
        "gzip, bzip2 or xz; - is standard input (default: the digits)",
    )
    parser.add_argument(
        "--column", metavar="NAME", help="the column of the file to predict (default: none)"
    )
    parser.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what the column is. Classes are whole numbers from 0 up, without gaps; auto takes "
        f"whole numbers, also written as 1.0, of at most {MOST_CLASSES} different values for "
        "classes (default: %(default)s)",
    )
    add_hidden(parser, None)
    parser.add_argument(
        "--problems",
        type=names,
        metavar="NAMES",
        help="known problems, with commas between: sin, parity, digits, rosenbrock and others of "
        "fastmlp.load_problem (default: none)",
    )
    parser.add_argument(
        "--optimizers",
        type=_optimizers,
        metavar="LIST",
        help="with commas between, each a name or name(parameter=value, ...) as of fastmlp train; "
        "with a + between, as in adam(epochs=20)+lbfgs, the second goes on where the first one "
        "stopped (default: sgd, also with momentum, adam and lbfgs, in settings for the digits; "
        f"with --problems {_FOR_PROBLEMS})",
    )
    parser.add_argument(
        "--budget",
        type=_budget,
        metavar="AMOUNT",
        help="what each optimizer may spend from each start: 10s is seconds, 50passes passes over "
        "the data, 200evals evaluations of the gradient (default: "
        f"{_PASSES}passes, with --problems {_PASSES_ON_PROBLEMS}passes)",
    )
    parser.add_argument(
        "--passes", type=int, metavar="N", help="budget of so many passes (default: see above)"
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="end an optimizer after this time, even with passes left (default: no limit)",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="starts, the same for all optimizers, one seed after another; tables and figures "
        "show medians and quartiles (default: %(default)s)",
    )
    parser.add_argument(
        "--target",
        type=float,
        metavar="VALUE",
        help="objective to reach, penalties included: the table says what that took, and how "
        "often it came to it (default: none, with --problems those of the problems)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default="fastmlp-compare",
        metavar="FOLDER",
        help="where the files go; made if need be (default: %(default)s)",
    )
    add_run_options(parser)


def _optimizers(text):
    """Split "adam(learning_rate=3e-3),adam+lbfgs": names to written forms.

    Commas within parentheses belong to parameters.
    """
    optimizers = {}
    for part in split_outside(text, ","):
        if not part:
            raise argparse.ArgumentTypeError(
                "must be optimizers with commas between, or with a + between those that go on "
                f"from one another, such as adam,lbfgs,adam+lbfgs, got {text!r}"
            )
        if part in optimizers:
            raise argparse.ArgumentTypeError(f"must not name {part} more than once, got {text!r}")
        optimizers[part] = part
    return optimizers


def _budget(text):
    """The arguments of `compare` that "10s", "50passes" or "200evals" stand for."""
    match = re.fullmatch(r"\s*([0-9.]+(?:e[-+]?[0-9]+)?)\s*([a-z]+)\s*", text)
    if match and match[2] in _UNITS:
        with suppress(ValueError):
            amount = float(match[1]) if match[2] == "s" else int(match[1])
            if amount > 0:
                return {_UNITS[match[2]]: amount}
    raise argparse.ArgumentTypeError(
        "must be a positive number of seconds as in 10s, or a whole one of passes or evaluations "
        f"as in 50passes or 200evals, got {text!r}"
    )


def _compare(arguments):
    from fastmlp.validation import as_generator, check_count, check_number

    check_count("--seeds", arguments.seeds)
    as_generator(arguments.seed, "--seed", "an integer from 0 up")
    if arguments.target is not None:
        check_number("--target", arguments.target, "a finite number", lambda value: True)
    options = {
        "seeds": range(arguments.seed, arguments.seed + arguments.seeds),
        "progress": not arguments.quiet,
        "n_threads": arguments.threads,
    }
    if arguments.problems is not None:
        _check_not_given(arguments, "--problems", ("data", "column", "hidden", "task"))
        options |= _check_budget(arguments, _PASSES_ON_PROBLEMS)
        return _compare_problems(arguments, options)
    options |= _check_budget(arguments, _PASSES)
    if arguments.data is None:
        _check_not_given(arguments, "the digits", ("column", "task"), "--data")
    return _compare_on_rows(arguments, options)


def _check_not_given(arguments, where, names, instead=None):
    for name in names:
        if getattr(arguments, name) not in (None, "auto"):
            goes = f"goes with {instead}" if instead else "is for networks on data"
            raise ValueError(f"--{name} {goes} and must not be given for {where}")


def _check_budget(arguments, default):
    """The budget of each run, as arguments of `compare`."""
    if arguments.budget is None:
        passes, seconds = arguments.passes, arguments.time_limit
        return {"passes": default if passes is None else passes, "time_limit": seconds}
    if arguments.passes is not None or arguments.time_limit is not None:
        raise ValueError("--budget must not be given together with --passes or --time-limit")
    return arguments.budget


def _compare_on_rows(arguments, options):
    """Compare on the digits, or on a file."""
    from fastmlp.compare import compare
    from fastmlp.contests import check_optimizers_by_name
    from fastmlp.datasets import load_csv, load_digits
    from fastmlp.mlp import MLP
    from fastmlp.optimizers import Stochastic

    if arguments.data is None:
        name, (X, y), n_classes = "digits", load_digits(), 10
    else:
        if arguments.column is None:
            raise ValueError("--column must name the column of --data to predict")
        X, y, features = load_csv(opened(arguments.data), arguments.column)
        name = "standard input" if arguments.data == "-" else Path(arguments.data).name
        n_classes = count_classes(y, arguments.task, f"--column {arguments.column}")
        X, y = rounded_rows(X, features, y, arguments.column, "float32")
    training, held_out = split_rows(X, 0.2, arguments.seed)
    hidden = sizes(HIDDEN) if arguments.hidden is None else arguments.hidden
    net = MLP(
        [X.shape[1], *hidden, n_classes or 1],
        output="softmax" if n_classes else "identity",
        seed=arguments.seed,
    )
    if arguments.optimizers is None:
        optimizers, batch_size = _four_optimizers()
    else:
        optimizers = check_optimizers_by_name(arguments.optimizers, net.n_params)
        batch_size = {
            name: 32
            for name, stages in optimizers.items()
            if any(isinstance(stage, Stochastic) for stage in stages)
        }
    _make_folder(arguments.out)
    comparison = compare(
        net,
        X[training],
        y[training],
        optimizers,
        batch_size=batch_size,
        validation_data=(X[held_out], y[held_out]) if len(held_out) else None,
        target=arguments.target,
        **options,
    )
    page = arguments.out / "comparison.html"
    written = [  # before anything is printed, which may fail
        *_write_comparison(comparison, arguments.out),
        _write("page", page, comparison.to_html, title=f"Optimizers on {name}"),
    ]
    print(
        f"{name}: {describe_task(n_classes)}; {len(training)} rows to train on, {len(held_out)} "
        f"to validate; network {'-'.join(map(str, net.layer_sizes))}, {net.n_params:,} parameters"
    )
    print(comparison, *written, sep="\n")
    return _end_of_comparison(comparison.interrupted)


def _compare_problems(arguments, options):
    """Compare on known problems."""
    from fastmlp.compare import compare_problems
    from fastmlp.comparison import MEASURES
    from fastmlp.problems import load_problem

    problems = [load_problem(name) for name in arguments.problems]
    if arguments.target is not None:
        problems = [replace(problem, target=arguments.target) for problem in problems]
    optimizers = arguments.optimizers or _optimizers(_FOR_PROBLEMS)
    _make_folder(arguments.out)
    comparisons = compare_problems(problems, optimizers, **options)
    written = []
    for name, comparison in comparisons.items():
        folder = arguments.out / name
        folder.mkdir(exist_ok=True)
        written += _write_comparison(comparison, folder)
    interrupted = any(comparison.interrupted for comparison in comparisons.values())
    if not interrupted:
        for measure in MEASURES:
            path = arguments.out / f"profile-{measure.replace('_', '-')}.png"
            written.append(_write("profile", path, comparisons.plot_profile, measure=measure))
    written.append(_write("page", arguments.out / "comparison.html", comparisons.to_html))
    print(comparisons, *written, sep="\n")
    return _end_of_comparison(interrupted)


def _make_folder(folder):
    """Make the folder of a comparison; refuse, before it runs, what could not be written there."""
    from fastmlp.writing import check_writable

    folder.mkdir(parents=True, exist_ok=True)
    for name in ("traces.csv", "comparison.json", "traces.png", "comparison.html"):
        check_writable("--out", folder / name)


def _write_comparison(comparison, folder):
    """Write the files of a comparison; return what to say of each."""
    return [
        _write("traces", folder / "traces.csv", comparison.to_csv),
        _write("runs", folder / "comparison.json", comparison.to_json),
        _write("plot", folder / "traces.png", comparison.plot),
    ]


def _write(what, path, write, **options):
    """Write a file; return a line that says so, or why not, which is for want of matplotlib."""
    try:
        write(path, **options)
    except ImportError as error:
        return f"no {what}: {error}"
    return f"{what}: {path}"


def _end_of_comparison(interrupted):
    if interrupted:
        say("fastmlp: interrupted; what there is so far is kept")
        return INTERRUPTED
    return DONE


def _four_optimizers():
    """The optimizers that digits and files are compared with, and their batch sizes."""
    from fastmlp.optimizers import SGD, Adam
    from fastmlp.solvers import LBFGS

    # The best learning rates out of 0.001, 0.003, 0.01, ... 1, by the median of the objective
    # after 50 passes over the digits with seeds 0 to 5.
    optimizers = {
        "gradient descent": SGD(learning_rate=0.3),
        "SGD with momentum": SGD(learning_rate=0.1, momentum=0.9),
        "Adam": Adam(learning_rate=0.01),
        "L-BFGS": LBFGS(),
    }
    return optimizers, {"gradient descent": None, "SGD with momentum": 32, "Adam": 32}
