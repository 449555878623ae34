"""The command line: fastmlp compare, train, predict, warmup and info.

What a command needs is imported when it runs, so that help and version come at once.
"""

import argparse
import csv
import io
import os
import platform
import sys
from importlib import metadata
from pathlib import Path

# Exit statuses.
DONE = 0
DIVERGED = 1
BAD_INPUT = 2
INTERRUPTED = 130  # 128 + SIGINT, as shells count

# A target of whole numbers with more values than this is taken for a quantity. 26 letters and a
# few more are still classes.
_MOST_CLASSES = 32

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
        arguments = _parser().parse_args(argv)
        return arguments.run(arguments)
    except KeyboardInterrupt:
        print("fastmlp: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (ValueError, TypeError, OSError, MemoryError) as error:
        _print_error(" ".join(str(error).split()) or "out of memory")
        return BAD_INPUT


def _print_error(message):
    print(f"fastmlp: error: {message}", file=sys.stderr)


class _Parser(argparse.ArgumentParser):
    """Reports a usage error like any other bad input, in one line."""

    def __init__(self, **options):
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message):
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser():
    from fastmlp import __version__

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
        help="compare optimizers on the shipped digits",
        description="""\
Train one network on the 1797 handwritten digits shipped with fastmlp, with four optimizers:
gradient descent, stochastic gradient descent with momentum, Adam and L-BFGS. Each starts from
the same weights, minimizes the same objective and has the same budget of data passes: one pass
is an epoch of mini-batches, or one evaluation of the whole objective and its gradient.

Prints a table: the objective on the four fifths of the digits it trained on, the accuracy on the
rest, and what it cost. Writes into the folder --out: traces.csv, a line for each optimizer and
epoch or iteration, and, if matplotlib is installed, traces.png. Older ones are replaced.""",
        epilog="example:\n  fastmlp compare --passes 100 --hidden 32,16 --out digits\n\n"
        + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_compare)
    parser.add_argument(
        "--passes",
        type=int,
        default=50,
        metavar="N",
        help="data passes of each optimizer (default: %(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="end an optimizer after this time, even with passes left (default: no limit)",
    )
    _add_hidden(parser)
    parser.add_argument(
        "--out",
        type=Path,
        default="fastmlp-compare",
        metavar="FOLDER",
        help="where traces.csv and traces.png go; made if need be (default: %(default)s)",
    )
    _add_run_options(parser)


def _add_train(commands):
    parser = commands.add_parser(
        "train",
        help="train a network on a CSV file",
        description="""\
Train a network to predict one column of a CSV file from all others, and save it.

The file has a header line and numbers only, and may be gzipped. Features are used as they are:
bring them to a similar scale first. For classification the network ends in softmax, for
regression in one output as it is.""",
        epilog="example:\n  fastmlp train flowers.csv --target species --hidden 64,32 \\\n"
        '      --optimizer "adam(learning_rate=3e-3)" --epochs 50\n\n' + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_train)
    parser.add_argument("data", metavar="DATA", help="the CSV file")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column to predict (required)"
    )
    parser.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what the target is. Classes are whole numbers from 0 up, without gaps; auto takes "
        f"whole numbers of at most {_MOST_CLASSES} different values for classes "
        "(default: %(default)s)",
    )
    _add_hidden(parser)
    parser.add_argument(
        "--activation",
        default="relu",
        metavar="NAME",
        help="of the hidden layers: relu, tanh, sigmoid, gelu, 'leaky_relu(0.2)' and others of "
        "fastmlp.MLP (default: %(default)s)",
    )
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
        default=128,
        metavar="ROWS",
        help="rows of a mini-batch; solvers have their own, or all rows (default: %(default)s)",
    )
    parser.add_argument(
        "--loss",
        default="auto",
        metavar="NAME",
        help="auto is cross_entropy for classification, squared_error for regression, which "
        "could also have absolute_error, 'huber(1.0)' or 'quantile(0.9)' (default: %(default)s)",
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
        type=Path,
        default="model.safetensors",
        metavar="FILE",
        help="where the model goes; an older one is replaced (default: %(default)s)",
    )
    _add_run_options(parser)


def _add_predict(commands):
    parser = commands.add_parser(
        "predict",
        help="apply a saved network to a CSV file",
        description="""\
Write what a saved network predicts for each row of a CSV file.

The file has a header line and the feature columns that the network was trained with, in the same
order. The predictions are a CSV file with a line for each row: the output or outputs; for
a network that ends in softmax the class and the probability of each class.""",
        epilog="example:\n  fastmlp predict model.safetensors new.csv --out answers.csv\n\n"
        + _EXIT_STATUSES,
    )
    parser.set_defaults(run=_predict)
    parser.add_argument("model", metavar="MODEL", help="the file that fastmlp train wrote")
    parser.add_argument("data", metavar="DATA", help="the CSV file")
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="column that is no feature but the true answer, to score the predictions with "
        "(default: there is none)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default="predictions.csv",
        metavar="FILE",
        help="where the predictions go; an older file is replaced (default: %(default)s)",
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


def _add_hidden(parser):
    parser.add_argument(
        "--hidden",
        type=_sizes,
        default="64,32",
        metavar="SIZES",
        help="units of each hidden layer, with commas between; an empty text is no hidden layer "
        "(default: %(default)s)",
    )


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


def _compare(arguments):
    from fastmlp.compare import compare
    from fastmlp.datasets import load_digits
    from fastmlp.network import MLP
    from fastmlp.optimizers import SGD, Adam
    from fastmlp.result import Status
    from fastmlp.solvers import LBFGS

    X, y = load_digits()
    training, held_out = _split(len(X), 0.2, arguments.seed)
    net = MLP([64, *arguments.hidden, 10], output="softmax", seed=arguments.seed)
    # The best learning rates out of 0.001, 0.003, 0.01, ... 1, by the median of the objective
    # after 50 passes with seeds 0 to 5.
    optimizers = {
        "gradient descent": SGD(learning_rate=0.3),
        "SGD with momentum": SGD(learning_rate=0.1, momentum=0.9),
        "Adam": Adam(learning_rate=0.01),
        "L-BFGS": LBFGS(),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    comparison = compare(
        net,
        X[training],
        y[training],
        optimizers,
        passes=arguments.passes,
        time_limit=arguments.time_limit,
        batch_size={"gradient descent": None, "SGD with momentum": 32, "Adam": 32},
        validation_data=(X[held_out], y[held_out]),
        progress=not arguments.quiet,
        n_threads=arguments.threads,
        seeds=[arguments.seed],
    )
    print(
        f"digits: {len(training)} rows to train on, {len(held_out)} to validate; network "
        f"{'-'.join(map(str, net.layer_sizes))}, {net.n_params:,} parameters"
    )
    print(comparison)
    traces = arguments.out / "traces.csv"
    comparison.to_csv(traces)
    print(f"traces: {traces}")
    plot = arguments.out / "traces.png"
    try:
        comparison.plot(plot)
        print(f"plot: {plot}")
    except ImportError as error:
        print(f"no plot: {error}")
    if any(result.status is Status.INTERRUPTED for result in comparison.results.values()):
        print("fastmlp: interrupted; what there is so far is kept", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _train(arguments):
    from fastmlp.compare import score
    from fastmlp.datasets import load_csv
    from fastmlp.network import MLP
    from fastmlp.result import Status

    _check_out(arguments.out)
    X, y, features = load_csv(arguments.data, arguments.target, dtype=arguments.dtype)
    n_classes = _count_classes(y, arguments.task, arguments.target)
    training, held_out = _split(len(X), arguments.validation_fraction, arguments.seed)
    net = MLP(
        [len(features), *arguments.hidden, n_classes or 1],
        activation=arguments.activation,
        output="softmax" if n_classes else "identity",
        dtype=arguments.dtype,
        seed=arguments.seed,
    )
    result = net.fit(
        X[training],
        y[training],
        optimizer=arguments.optimizer,
        loss=arguments.loss,
        batch_size=arguments.batch_size,
        epochs=arguments.epochs,
        l1=arguments.l1,
        l2=arguments.l2,
        validation_data=(X[held_out], y[held_out]) if len(held_out) else None,
        time_limit=arguments.time_limit,
        progress=not arguments.quiet,
        n_threads=arguments.threads,
        seed=arguments.seed,
    )
    if result.status is Status.NOT_FINITE:
        _print_error(f"training diverged, no model is saved: {result.message}")
        return DIVERGED
    interrupted = result.status is Status.INTERRUPTED
    if interrupted and result.n_iter == 0:
        raise KeyboardInterrupt
    task = f"classification, {n_classes} classes" if n_classes else "regression"
    print(
        f"{task}; network {'-'.join(map(str, net.layer_sizes))}, {net.n_params:,} parameters\n"
        f"{result.status}: {result.message}; {result.n_iter} epochs or iterations in "
        f"{result.seconds:.3g} s\n"
        f"objective {result.loss:.6g} on the {len(training)} rows trained on"
    )
    rows, which = (held_out, "held out") if len(held_out) else (training, "trained on")
    options = {"loss": arguments.loss, "n_threads": arguments.threads}
    loss = net.loss(X[rows], y[rows], **options)
    name, value = score(net, X[rows], y[rows], **options)
    print(f"loss {loss:.6g}, {name} {value:.6g} on the {len(rows)} rows {which}")
    net.save(arguments.out)
    print(f"model: {arguments.out}")
    if interrupted:
        print("fastmlp: interrupted; the model so far is saved", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _predict(arguments):
    import numpy as np

    from fastmlp.compare import score
    from fastmlp.datasets import load_csv
    from fastmlp.network import MLP

    _check_out(arguments.out)
    net = MLP.load(arguments.model)
    if arguments.target is None:
        X, y = _load_features(arguments.data, net.dtype), None
    else:
        X, y, _ = load_csv(arguments.data, arguments.target, dtype=net.dtype)
    n_inputs = net.layer_sizes[0]
    if X.shape[1] != n_inputs:
        hint = "; name the target column with --target" if X.shape[1] == n_inputs + 1 else ""
        raise ValueError(
            f"DATA must have {n_inputs} feature columns, one for each input of MODEL, got "
            f"{X.shape[1]}{hint}"
        )
    outputs = net.predict(X, n_threads=arguments.threads)
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
    np.savetxt(
        arguments.out, columns, fmt=formats, delimiter=",", header=",".join(names), comments=""
    )
    print(*summary, f"predictions: {arguments.out}", sep="\n")
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

    from fastmlp import __version__
    from fastmlp.kernels import simd, threads

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
        "cache": _describe_cache(),
    }
    for name, value in lines.items():
        print(f"{name:10}{value}")
    return DONE


def _describe_cache():
    from fastmlp.kernels._jit import cache_directory

    folder = cache_directory()
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    writable = "writable" if os.access(existing, os.W_OK | os.X_OK) else "not writable"
    if not folder.is_dir():
        return f"{folder}, not made yet, {writable}"
    sizes = [path.stat().st_size for path in folder.iterdir() if path.is_file()]
    return f"{folder}, {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB, {writable}"


def _check_out(path):
    """Refuse, before the work, a file that could not be written after it."""
    if path.is_dir():
        raise ValueError(f"--out must be a file, {str(path)!r} is a folder")
    if not path.parent.is_dir():
        raise ValueError(f"--out must be in an existing folder, got {str(path)!r}")


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


def _count_classes(y, task, target):
    """Number of classes of a target, 0 for regression."""
    import numpy as np

    if task == "regression":
        return 0
    values = np.unique(y)
    whole = np.array_equal(values, np.trunc(values))
    if task == "auto" and not (y.dtype.kind == "i" and values.size <= _MOST_CLASSES):
        return 0
    if whole and values.size > 1 and values[0] == 0 and values[-1] == values.size - 1:
        return values.size
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
    other = ", or say --task regression" if task == "auto" else ""
    raise ValueError(
        f"--target {target} must hold classes numbered 0, 1, 2, ... without gaps, two at least, "
        f"got {shown}: renumber them in the file{other}"
    )


def _load_features(path, dtype):
    """All columns of a CSV file, (n_rows, n_columns)."""
    import numpy as np

    from fastmlp.datasets import load_csv
    from fastmlp.datasets.reading import open_plain_or_gzip

    with open_plain_or_gzip(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape")
        try:
            header = next(filter(None, csv.reader(text)), [""])
        except csv.Error:
            header = [""]  # load_csv says what is wrong
    if len(header) == 1 and header != [""]:
        raise ValueError(
            "DATA must have two columns at least, got one: add any other, and name it with --target"
        )
    # load_csv sets one column apart, the last, which goes back to its place.
    X, last, _ = load_csv(path, header[-1].strip(), dtype=dtype)
    return np.column_stack([X, last.astype(dtype)])
