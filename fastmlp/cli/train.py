"""fastmlp train: a model for a table."""

import argparse

from fastmlp.cli.options import (
    EXIT_STATUSES,
    HIDDEN,
    MOST_CLASSES,
    add_hidden,
    add_run_options,
    levels,
    names,
    out_file,
    split_outside,
)


def add_parser(commands):
    parser = commands.add_parser(
        "train",
        help="train on a table",
        description="""\
Train networks to predict one column of a table from all others, and save them as one model.

The table is a CSV file with a header line, or Parquet. Its columns may hold numbers, texts,
booleans and dates, and miss values. The delimiter of a CSV file, a comma, semicolon, tab or bar, is
found, and it may be compressed by gzip, bzip2 or xz. Several networks train side by side, each on
all rows but those of a fold of its own, which choose its best epoch and score it. Of a table that
half of the memory has no room for, they are trained on a random sample of rows.

With --plain, or any option of a plain network, it is one network on numbers as they are, of a file
with commas, or Parquet; those that are not of a size of about 1 are to be scaled by --standardize.
For classification it ends in softmax, for regression in one output as it is. A file from 256 MB on,
and Parquet, is converted to a file beside it, which may be larger than memory, and a later run
finds it there.""",
        epilog="example:\n  fastmlp train flowers.csv --target species\n"
        "  fastmlp train flowers.csv --target species --standardize --hidden 64,32 \\\n"
        '      --optimizer "adam(learning_rate=3e-3)" --epochs 50\n\n' + EXIT_STATUSES,
    )
    parser.set_defaults(run=_train, of_tables=(), of_network=())
    parser.add_argument("data", metavar="DATA", help="the file; - is standard input")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column to predict (required)"
    )
    parser.add_argument(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what the target is. auto takes texts, and whole numbers of at most "
        f"{MOST_CLASSES} different values, also written as 1.0, for classes, which a plain network "
        "needs to be whole numbers from 0 up, without gaps (default: %(default)s)",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        metavar="SECONDS",
        help="end training after this time (default: no limit)",
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
    _add_of_tables(_Noting(parser.add_argument_group("networks for tables"), "of_tables"))
    _add_of_network(_Noting(parser.add_argument_group("one plain network"), "of_network"))


class _Note(argparse.Action):
    """Stores a value, and notes that its option was given."""

    def __init__(self, noted, **options):
        super().__init__(**options)
        self._noted = noted

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, True if self.nargs == 0 else values)
        setattr(namespace, self._noted, (*getattr(namespace, self._noted), option_string))


class _Noting:
    """A group of options that are noted in an attribute of the arguments."""

    def __init__(self, group, noted):
        self._group, self._noted = group, noted

    def add_argument(self, *flags, action="store", **options):
        """Add an option, as `argparse` does."""
        if action == "store_true":
            options |= {"nargs": 0, "default": False}
        self._group.add_argument(*flags, action=_Note, noted=self._noted, **options)


def _train(arguments):
    from fastmlp.cli.train_network import train_network
    from fastmlp.cli.train_table import train_table

    if not arguments.of_network:
        return train_table(arguments)
    if arguments.of_tables:
        raise ValueError(
            f"{arguments.of_network[0]} is for a plain network, and must not be given together "
            f"with {arguments.of_tables[0]}, which is for tables"
        )
    return train_network(arguments)


def _add_of_tables(parser):
    parser.add_argument(
        "--architecture",
        choices=("realmlp", "tabm", "plain"),
        default="realmlp",
        help="as of fastmlp.TabularClassifier (default: %(default)s)",
    )
    parser.add_argument(
        "--networks",
        type=int,
        default=8,
        metavar="N",
        help="networks, and folds of the rows (default: %(default)s)",
    )
    parser.add_argument(
        "--categorical",
        type=names,
        metavar="NAMES",
        help="columns of numbers that are categories, with commas between (default: none)",
    )
    parser.add_argument(
        "--drop",
        type=names,
        default=[],
        metavar="NAMES",
        help="columns to leave out, such as numbers of rows, with commas between (default: none)",
    )
    parser.add_argument(
        "--scoring",
        metavar="NAME",
        help="what chooses the best epoch: accuracy, log_loss, auc, rmse or any scorer of "
        "scikit-learn (default: accuracy for classes, else rmse)",
    )
    parser.add_argument(
        "--quantiles",
        type=levels,
        metavar="LEVELS",
        help="predict quantiles of a target of numbers, such as 0.1,0.5,0.9, instead of its mean "
        "(default: none)",
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="also train networks with hyperparameters drawn at random, as many as there is time "
        "for, and take those that are best together",
    )


def _add_of_network(parser):
    parser.add_argument(
        "--plain", action="store_true", help="train a plain network, with no other option of it"
    )
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
        "--dtype",
        choices=("float32", "float64"),
        default="float32",
        help="of the parameters and of all computation (default: %(default)s)",
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
        parts = [part.strip() for part in split_outside(text, ",")]
        try:
            values = [None if part == "none" else kind(part) for part in parts]
        except ValueError:
            return text
        return values[0] if len(values) == 1 else values

    return convert
