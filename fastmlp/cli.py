"""The command line: fastmlp compare, train, predict, warmup and info.

What a command needs is imported when it runs, so that help and version come at once.
"""

import argparse
import math
import os
import platform
import re
import sys
import warnings
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import Any

# Exit statuses.
DONE = 0
DIVERGED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count
NOBODY_READS = 141  # 128 + SIGPIPE

# A target of whole numbers with more values than this is taken for a quantity. 26 letters and a
# few more are still classes.
_MOST_CLASSES = 32

# Units of the hidden layers.
_HIDDEN = "64,32"

# Data passes of a comparison; a known problem, with few data or none, takes more.
_PASSES = 50
_PASSES_ON_PROBLEMS = 500

# Optimizers for known problems, where nobody names others: fit for all of them.
_FOR_PROBLEMS = "gradient_descent,adam(learning_rate=0.01),conjugate_gradient,lbfgs"

# What the amounts of --budget end with, and the argument of `compare` that they stand for.
_UNITS = {"s": "time_limit", "passes": "passes", "evals": "gradient_evaluations"}

_EXIT_STATUSES = """\
exit status: 0 done, 1 training diverged, 2 bad input, 130 interrupted by Ctrl-C
"""


def main(argv=None) -> int:
    """Run a command; return its exit status.

    Parameters
    ----------
    argv : list of str or None, default None
        The arguments, without the program's name; None takes those of the process.
    """
    try:
        try:
            return _run(argv)
        finally:
            _flush_errors()
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # `head` has seen enough, or a pager was left
        _discard(sys.stdout)
        return NOBODY_READS
    except OSError as error:  # a full disk
        _discard(sys.stdout)
        _print_error(error)
        return BAD_INPUT


def _discard(stream):
    """Let a standard stream go nowhere, so that its last flush cannot fail once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _flush_errors():
    """Flush standard error; where that fails, nothing is lost that is worth a result."""
    if sys.stderr is not None:
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _say(line):
    """Print to standard error, if there is one."""
    if sys.stderr is not None:  # for which `print` would take standard output
        with suppress(OSError):
            print(line, file=sys.stderr)
        _flush_errors()


def _run(argv):
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = _print_warning
            return arguments.run(arguments)
    except KeyboardInterrupt:
        _say("fastmlp: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _print_error(" ".join(str(error).split()) or "out of memory")
        return BAD_INPUT


def _print_error(message):
    _say(f"fastmlp: error: {message}")


def _print_warning(message, *where):
    _say(f"fastmlp: warning: {message}")


class _Parser(argparse.ArgumentParser):
    """Reports a usage error like any other bad input, in one line."""

    def __init__(self, **options):
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message):
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser():
    from fastmlp.version import __version__

    parser = _Parser(
        prog="fastmlp",
        description="Train multilayer perceptrons on the CPU, and compare optimizers on them.",
        epilog=_EXIT_STATUSES + "\nfastmlp COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_compare(commands)
    _add_train(commands)
    _add_predict(commands)
    _add_warmup(commands)
    _add_info(commands)
    return parser


def _add_compare(commands):
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
        + _EXIT_STATUSES,
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
    _add_task(parser, "what the column is")
    _add_hidden(parser, None)
    parser.add_argument(
        "--problems",
        type=_names,
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
    _add_run_options(parser)


def _add_train(commands):
    parser = commands.add_parser(
        "train",
        help="train a network on a CSV file",
        description="""\
Train a network to predict one column of a CSV file from all others, and save it.

The file has a header line and numbers only, and may be compressed by gzip, bzip2 or xz. Numbers
are used as they are unless --standardize scales them: where columns are not all of a size of about
1, they should be. For classification the network ends in softmax, for regression in one output as
it is.""",
        epilog="example:\n  fastmlp train flowers.csv --target species --standardize \\\n"
        '      --hidden 64,32 --optimizer "adam(learning_rate=3e-3)" --epochs 50\n\n'
        + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_train)
    parser.add_argument("data", metavar="DATA", help="the CSV file; - is standard input")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column to predict (required)"
    )
    _add_task(parser, "what the target is")
    _add_hidden(parser, _HIDDEN)
    parser.add_argument(
        "--activation",
        default="relu",
        metavar="NAME",
        help="of the hidden layers: relu, tanh, sigmoid, gelu, 'leaky_relu(0.2)' and others of "
        "fastmlp.MLP (default: %(default)s)",
    )
    _add_pieces(parser)
    parser.add_argument(
        "--optimizer",
        default="adam",
        metavar="TEXT",
        help="name, or name(parameter=value, ...) with any parameter that its class in fastmlp "
        "has, such as 'sgd(learning_rate=0.1, momentum=0.9)' or lbfgs (default: %(default)s)",
    )
    parser.add_argument(
        "--epochs",
        type=int,
        metavar="N",
        help="epochs, or iterations of a solver such as lbfgs (default: 20 epochs, or the "
        "solver's max_iterations)",
    )
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="ROWS",
        help="rows of a mini-batch; not for solvers such as lbfgs, which take all rows or have a "
        "batch_size of their own (default: 128)",
    )
    parser.add_argument(
        "--loss",
        default="auto",
        metavar="NAME",
        help="auto is cross_entropy for classification, which could also have label smoothing, "
        "'cross_entropy(0.1)', and squared_error for regression, which could also have "
        "absolute_error, 'huber(1.0)' or 'quantile(0.9)' (default: %(default)s)",
    )
    parser.add_argument(
        "--standardize",
        action="store_true",
        help="train on features, and for regression on a target, scaled to mean 0 and variance 1; "
        "the model has the scaling in it, and predicts from numbers as they are",
    )
    for name, what in (("--l1", "sum of |W|"), ("--l2", "half the sum of W^2")):
        parser.add_argument(
            name,
            type=float,
            default=0.0,
            metavar="WEIGHT",
            help=f"penalty on the weights: factor of {what} (default: %(default)s)",
        )
    parser.add_argument(
        "--validation-fraction",
        type=float,
        default=0.2,
        metavar="FRACTION",
        help="part of the rows, drawn at random, to hold out and score the network on; with 0 it "
        "is scored on the rows it was trained on (default: %(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="end training after this time (default: no limit)",
    )
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="of the parameters and of all computation (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=_out_file,
        default="model.safetensors",
        metavar="FILE",
        help="where the model goes; an older one is replaced; - is standard output (default: "
        "%(default)s)",
    )
    _add_run_options(parser)


def _add_predict(commands):
    parser = commands.add_parser(
        "predict",
        help="apply a saved network to a CSV file",
        description="""\
Write what a saved network predicts for each row of a CSV file.

The file has a header line and the columns that the network was trained on. They are found by
their names, in any order; others are left out, whatever they hold. A network that was trained
without names takes all columns, in the order of training. The predictions are a CSV file with a
line for each row: the output or outputs; for a network that ends in softmax the class and the
probability of each class.""",
        epilog="example:\n  fastmlp predict model.safetensors new.csv --out answers.csv\n\n"
        + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_predict)
    parser.add_argument("model", metavar="MODEL", help="the file that fastmlp train wrote")
    parser.add_argument("data", metavar="DATA", help="the CSV file; - is standard input")
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="column that is no feature but the true answer, to score the predictions with "
        "(default: there is none)",
    )
    parser.add_argument(
        "--out",
        type=_out_file,
        default="predictions.csv",
        metavar="FILE",
        help="where the predictions go; an older file is replaced, and a name that ends in .gz, "
        ".bz2 or .xz makes a compressed one; - is standard output (default: %(default)s)",
    )
    _add_threads(parser)


def _add_warmup(commands):
    parser = commands.add_parser(
        "warmup",
        help="compile the kernels before they are needed",
        description="""\
Compile the kernels that training and prediction use and keep them in the cache, so that no later
process has to: in the build of a container image, for instance. Set FASTMLP_CACHE_DIR, there and
where fastmlp runs, to name the folder.""",
        epilog="example:\n  fastmlp warmup --dtype both\n\n" + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_warmup)
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "both"),
        default="float32",
        help="of the networks to come (default: %(default)s)",
    )


def _add_info(commands):
    parser = commands.add_parser(
        "info",
        help="show versions, cores, threads, vector width and the kernel cache",
        description="Show what fastmlp runs on here: what to look at, and to quote, if it is "
        "slow or fails.",
        epilog="example:\n  fastmlp info",
    )
    parser.set_defaults(run=_info)


def _add_task(parser, what):
    parser.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help=f"{what}. Classes are whole numbers from 0 up, without gaps; auto takes whole "
        f"numbers, also written as 1.0, of at most {_MOST_CLASSES} different values for classes "
        "(default: %(default)s)",
    )


def _add_hidden(parser, default):
    """`default` may be None, to tell whether the option was given."""
    parser.add_argument(
        "--hidden",
        type=_sizes,
        default=default,
        metavar="SIZES",
        help="units of each hidden layer, with commas between; an empty text is no hidden layer "
        f"(default: {_HIDDEN})",
    )


def _add_pieces(parser):
    parser.add_argument(
        "--norm",
        type=_for_each_layer(str),
        metavar="NAME",
        help="batch or layer, of all hidden layers, or one for each with commas between, of which "
        "none is none (default: none)",
    )
    parser.add_argument(
        "--dropout",
        type=_for_each_layer(float),
        default=0.0,
        metavar="P",
        help="probability that an output of a hidden layer is dropped, of all layers, or one for "
        "each with commas between, or a schedule such as 'flat_cosine(initial=0.15)' (default: "
        "%(default)s)",
    )
    parser.add_argument(
        "--input-dropout",
        type=float,
        default=0.0,
        metavar="P",
        help="the same of an input (default: %(default)s)",
    )
    parser.add_argument(
        "--residual", action="store_true", help="add the input of hidden layers where widths agree"
    )
    parser.add_argument(
        "--input-scale", action="store_true", help="train a factor for each column as well"
    )
    parser.add_argument(
        "--members",
        type=int,
        default=1,
        metavar="N",
        help="train so many networks that share their hidden weights, and predict their mean "
        "(default: %(default)s)",
    )


def _for_each_layer(kind):
    """What turns "0.1" into a value of this kind, and "0.1,0.2" into a list of them.

    What is no such value stays a text, which may be a written form.
    """

    def convert(text):
        parts = [part.strip() for part in _split_outside(text, ",")]
        try:
            values = [None if part == "none" else kind(part) for part in parts]
        except ValueError:
            return text
        return values[0] if len(values) == 1 else values

    return convert


def _add_run_options(parser):
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of held-out rows, starting weights and shuffling; the same seed gives the same "
        "result (default: %(default)s)",
    )
    _add_threads(parser)
    parser.add_argument(
        "--quiet", "--no-progress", action="store_true", help="show no progress bar"
    )


def _add_threads(parser):
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads at most; the result does not depend on it (default: as many as are worth it)",
    )


def _sizes(text):
    if not text.strip():
        return []
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers with commas between, such as 64,32, got {text!r}"
        ) from None


def _out_file(text):
    return Path("/dev/stdout" if text == "-" else text)


def _names(text):
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between, got {text!r}")
    return names


def _optimizers(text):
    """Split "adam(learning_rate=3e-3),adam+lbfgs": names to written forms.

    Commas within parentheses belong to parameters.
    """
    optimizers = {}
    for part in _split_outside(text, ","):
        if not part:
            raise argparse.ArgumentTypeError(
                "must be optimizers with commas between, or with a + between those that go on "
                f"from one another, such as adam,lbfgs,adam+lbfgs, got {text!r}"
            )
        if part in optimizers:
            raise argparse.ArgumentTypeError(f"must not name {part} more than once, got {text!r}")
        optimizers[part] = part
    return optimizers


def _split_outside(text, separator):
    """Split at a separator, but not within parentheses or brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


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
        X, y, features = load_csv(_opened(arguments.data), arguments.column)
        name = "standard input" if arguments.data == "-" else Path(arguments.data).name
        n_classes = _count_classes(y, arguments.task, f"--column {arguments.column}")
        X, y = _rounded(X, features, y, arguments.column, "float32")
    training, held_out = _split(len(X), 0.2, arguments.seed)
    hidden = _sizes(_HIDDEN) if arguments.hidden is None else arguments.hidden
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
        f"{name}: {_describe_task(n_classes)}; {len(training)} rows to train on, {len(held_out)} "
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
        _say("fastmlp: interrupted; what there is so far is kept")
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


def _train(arguments):
    import numpy as np

    from fastmlp.datasets import load_csv
    from fastmlp.mlp import MLP
    from fastmlp.result import Status
    from fastmlp.scoring import score
    from fastmlp.writing import check_writable

    check_writable("--out", arguments.out)
    X, y, features = load_csv(_opened(arguments.data), arguments.target)
    n_classes = _count_classes(y, arguments.task, f"--target {arguments.target}")
    X, y = _rounded(X, features, y, arguments.target, arguments.dtype)
    training, held_out = _split(len(X), arguments.validation_fraction, arguments.seed)
    net = MLP(
        [len(features), *arguments.hidden, n_classes or 1],
        activation=arguments.activation,
        norm=arguments.norm,
        dropout=arguments.dropout,
        input_dropout=arguments.input_dropout,
        residual=arguments.residual,
        input_scale=arguments.input_scale,
        members=arguments.members,
        output="softmax" if n_classes else "identity",
        dtype=arguments.dtype,
        seed=arguments.seed,
    )
    net.feature_names = features
    report = _reporter(arguments.out)
    result = net.fit(
        X[training],
        y[training],
        optimizer=arguments.optimizer,
        loss=arguments.loss,
        batch_size="auto" if arguments.batch_size is None else arguments.batch_size,
        epochs=arguments.epochs,
        l1=arguments.l1,
        l2=arguments.l2,
        validation_data=(X[held_out], y[held_out]) if len(held_out) else None,
        time_limit=arguments.time_limit,
        progress=not arguments.quiet,
        n_threads=arguments.threads,
        seed=arguments.seed,
        standardize=arguments.standardize,
    )
    interrupted = result.status is Status.INTERRUPTED
    if interrupted and result.n_iter == 0:
        raise KeyboardInterrupt
    diverged = result.status is Status.NOT_FINITE
    if not diverged:
        net.save(arguments.out)  # before anything is printed, which may fail
    report(
        f"{_describe_task(n_classes)}; network {'-'.join(map(str, net.layer_sizes))}, "
        f"{net.n_params:,} parameters"
    )
    if diverged:
        _print_error(f"training diverged, no model is saved: {result.message}")
        return DIVERGED
    report(
        f"{result.status}: {result.message}; {result.n_iter} epochs or iterations in "
        f"{result.seconds:.3g} s\n"
        f"objective {result.loss:.6g} on the {len(training)} rows trained on"
        f"{', standardized' if arguments.standardize else ''}"
    )
    rows, which = (held_out, "held out") if len(held_out) else (training, "trained on")
    options = {"loss": arguments.loss, "n_threads": arguments.threads}
    loss = net.loss(X[rows], y[rows], **options)
    if not math.isfinite(loss):
        bad = ~np.isfinite(net.predict(X[rows])).all(axis=1)
        _say(
            f"fastmlp: warning: of the rows {which}, {bad.sum()} have outputs that are not finite, "
            f"first row {rows[bad][0]} of DATA: its numbers are too large for the weights"
        )
    name, value = score(net, X[rows], y[rows], **options)
    report(f"loss {loss:.6g}, {name} {value:.6g} on the {len(rows)} rows {which}")
    report(f"model: {arguments.out}")
    if interrupted:
        _say("fastmlp: interrupted; the model so far is saved")
        return INTERRUPTED
    return DONE


def _predict(arguments):
    import numpy as np

    from fastmlp.datasets import load_csv
    from fastmlp.datasets.csv_table import load_columns
    from fastmlp.mlp import MLP
    from fastmlp.prediction import check_outputs
    from fastmlp.scoring import score
    from fastmlp.writing import check_writable

    check_writable("--out", arguments.out)
    net = MLP.load(arguments.model)
    data, features = _opened(arguments.data), net.feature_names
    if features is not None:
        X, y = load_columns(data, features, arguments.target)
    else:
        X, y, features = load_csv(data, arguments.target)
        n_inputs = net.layer_sizes[0]
        if X.shape[1] != n_inputs:
            hint = "; name the target column with --target" if X.shape[1] == n_inputs + 1 else ""
            raise ValueError(
                f"DATA must have {n_inputs} feature columns, one for each input of MODEL, got "
                f"{X.shape[1]}{hint}"
            )
    X, y = _rounded(X, features, y, arguments.target, net.dtype)
    outputs = net.predict(X, n_threads=arguments.threads)
    check_outputs(outputs, "DATA, counted from 1 after the header,", first=1)
    summary = []
    if y is not None:
        loss = net.loss(X, y, n_threads=arguments.threads)
        name, value = score(net, X, y, n_threads=arguments.threads)
        summary = [f"loss {loss:.6g}, {name} {value:.6g} on {len(X)} rows"]

    n_outputs = outputs.shape[1]
    digits = "%.9g" if net.dtype == np.float32 else "%.17g"  # enough to get the same bits back
    names = ["output"] if n_outputs == 1 else [f"output_{i}" for i in range(n_outputs)]
    columns, formats = outputs, [digits] * n_outputs
    if net.output == "softmax":
        names = ["class", *(f"probability_{i}" for i in range(n_outputs))]
        columns = np.column_stack([outputs.argmax(axis=1), outputs])
        formats = ["%d", *formats]
    report = _reporter(arguments.out)
    with _writing_text("--out", arguments.out) as file:
        np.savetxt(file, columns, fmt=formats, delimiter=",", header=",".join(names), comments="")
    report("\n".join([*summary, f"predictions: {arguments.out}"]))
    return DONE


def _warmup(arguments):
    from fastmlp.warming import warmup

    both = arguments.dtype == "both"
    folder = warmup(("float32", "float64") if both else (arguments.dtype,))
    if folder is None:
        raise OSError("FASTMLP_CACHE_DIR must name a folder that can be written to keep kernels in")
    print(f"kernels: {folder}")
    return DONE


def _info(arguments):
    import numba

    from fastmlp.kernels import simd, threads
    from fastmlp.version import __version__

    cores = threads.available_cores()
    launch = ""
    if cores > 1:
        seconds = threads.launch_seconds(cores)
        launch = f", {seconds * 1e6:.1f} us to launch a parallel region on {cores} threads"
    tiles = ", ".join(map(str, simd.TILE_ROWS))
    lines = {
        "fastmlp": __version__,
        "python": f"{platform.python_version()} on {platform.platform()}",
        "numpy": metadata.version("numpy"),
        "numba": numba.__version__,
        "llvmlite": metadata.version("llvmlite"),
        "scipy": metadata.version("scipy"),
        "cores": f"{cores} of {os.cpu_count()}",
        "threads": threads.threading_layer() + launch,
        "vectors": f"{simd.VECTOR_BYTES * 8} bits, tiles of {tiles} rows",
        "fma": "yes" if simd.HAS_FMA else "no: the C library's, some 40 times slower",
        "cache": _describe_cache(),
    }
    for name, value in lines.items():
        print(f"{name:10}{value}")
    return DONE


def _describe_cache():
    from fastmlp.kernels._jit import cache_directory

    folder = cache_directory()
    if folder is None:
        return "none, no folder can be made that is out of other users' reach"
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = "writable" if os.access(existing, os.W_OK | os.X_OK) else "not writable"
    if not folder.is_dir():
        return f"{folder}, not made yet, {writable}"
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return f"{folder}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, {writable}"


def _split(n_rows, fraction, seed):
    """Row numbers to train on and to hold out."""
    from fastmlp.validation import as_generator

    if not 0 <= fraction < 1:
        raise ValueError(f"--validation-fraction must be in [0, 1), got {fraction}")
    rng = as_generator(seed, "--seed", "an integer from 0 up")
    n_held_out = round(n_rows * fraction)
    if n_held_out == n_rows or (fraction > 0 and n_held_out == 0):
        raise ValueError(
            "--validation-fraction must leave rows on both sides, or be 0, got "
            f"{fraction} with {n_rows} rows"
        )
    order = rng.permutation(n_rows)
    return order[n_held_out:], order[:n_held_out]


def _reporter(out):
    """What says what was written: `_say` if standard output is the file itself, else `print`."""
    try:
        is_the_file = os.path.samestat(os.stat(out), os.fstat(1))
    except OSError:  # there is no file yet, or no standard output
        is_the_file = False
    return _say if is_the_file else print


def _describe_task(n_classes):
    return f"classification, {n_classes} classes" if n_classes else "regression"


def _count_classes(y, task, option):
    """Number of classes of a target, 0 for regression; `option` is how it was named."""
    import numpy as np

    if task == "regression":
        return 0
    values = np.unique(y)
    whole = np.array_equal(values, np.trunc(values))  # 1.0 as well as 1
    if task == "auto" and not (whole and values.size <= _MOST_CLASSES):
        return 0
    if whole and values.size > 1 and values[0] == 0 and values[-1] == values.size - 1:
        return values.size
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
    other = ", or say --task regression" if task == "auto" else ""
    raise ValueError(
        f"{option} must hold classes numbered 0, 1, 2, ... without gaps, two at least, "
        f"got {shown}: renumber them in the file{other}"
    )


def _rounded(X, features, y, target, dtype):
    """X and y, which may be None, in the network's dtype; warn of digits it has no room for."""
    import numpy as np

    from fastmlp.rounding import warn_of_merged
    from fastmlp.validation import rounded

    dtype = np.dtype(dtype)
    warn_of_merged(dtype, X, y, features, target)
    most = np.finfo(dtype).max
    tables = [(features, X)] if y is None else [(features, X), ([target], y[:, None])]
    for names, table in tables:
        largest = np.maximum(table.max(axis=0), -table.min(axis=0))
        if largest.max() > most:
            name = names[int(largest.argmax())]
            raise ValueError(
                f"column {name!r} must hold numbers up to {most:.3g}, as {dtype} does, got "
                f"{largest.max():.3g}"
            )
    return rounded(X, dtype), None if y is None else rounded(y, dtype)


@contextmanager
def _writing_text(option, path):
    """Open a text file to be written, which is compressed if its name ends so."""
    import bz2
    import gzip
    import lzma

    from fastmlp.writing import writing

    openers: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with writing(option, path) as file:
        if path.suffix in openers:
            file = openers[path.suffix](file, "wb")
        with TextIOWrapper(file, "utf-8", newline="") as text:
            yield text


def _opened(data):
    """What `load_csv` is to read: a file of that name, or standard input for "-"."""
    if data != "-":
        return data
    if sys.stdin is None:
        raise ValueError("DATA must not be - where standard input is closed")
    return sys.stdin.buffer
