"""fastmlp train: a network for a table."""

from fastmlp.cli.options import (
    EXIT_STATUSES,
    HIDDEN,
    add_hidden,
    add_run_options,
    add_task,
    out_file,
    split_outside,
)
from fastmlp.cli.train_network import train_network


def add_parser(commands):
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
        + EXIT_STATUSES,
    )
    parser.set_defaults(run=train_network)
    parser.add_argument("data", metavar="DATA", help="the CSV file; - is standard input")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column to predict (required)"
    )
    add_task(parser, "what the target is")
    add_hidden(parser, HIDDEN)
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
        type=out_file,
        default="model.safetensors",
        metavar="FILE",
        help="where the model goes; an older one is replaced; - is standard output (default: "
        "%(default)s)",
    )
    add_run_options(parser)


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
        parts = [part.strip() for part in split_outside(text, ",")]
        try:
            values = [None if part == "none" else kind(part) for part in parts]
        except ValueError:
            return text
        return values[0] if len(values) == 1 else values

    return convert
