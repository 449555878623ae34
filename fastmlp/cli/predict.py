"""fastmlp predict: a saved model on a file."""

from itertools import chain

from fastmlp.cli.console import DONE, reporter
from fastmlp.cli.network_data import Scores, reading_blocks
from fastmlp.cli.options import EXIT_STATUSES, add_threads, out_file
from fastmlp.cli.streams import writing_text
from fastmlp.cli.table_models import load_model, rereadable


def add_parser(commands):
    parser = commands.add_parser(
        "predict",
        help="apply a saved model to a table",
        description="""\
Write what a saved model predicts for each row of a table.

The table is a CSV file with a header line, or Parquet, and may be larger than memory. It has the
columns that the model was trained on, which are found by their names, in any order; others are left
out, whatever they hold. A network that was trained without names takes all columns, in the order of
training.

The predictions are a CSV file with a line for each row. For classes it has the class and the
probability of each; for numbers the value, or its quantiles; for a plain network its output or
outputs, or the number of the class and the probabilities where it ends in softmax.""",
        epilog="example:\n  fastmlp predict model.safetensors new.csv --out answers.csv\n\n"
        + EXIT_STATUSES,
    )
    parser.set_defaults(run=_predict)
    parser.add_argument("model", metavar="MODEL", help="the file that fastmlp train wrote")
    parser.add_argument("data", metavar="DATA", help="the file; - is standard input")
    parser.add_argument(
        "--target",
        metavar="NAME",
        help="column that is no feature but the true answer, to score the predictions with "
        "(default: there is none)",
    )
    parser.add_argument(
        "--out",
        type=out_file,
        default="predictions.csv",
        metavar="FILE",
        help="where the predictions go; an older file is replaced, and a name that ends in .gz, "
        ".bz2 or .xz makes a compressed one; - is standard output (default: %(default)s)",
    )
    add_threads(parser)


def _predict(arguments):
    from fastmlp.cli.predict_table import predict_table
    from fastmlp.mlp import MLP
    from fastmlp.validation import check_count
    from fastmlp.writing import check_writable

    check_writable("--out", arguments.out)
    with rereadable(arguments.model) as path:
        found = load_model(path)
        if found is None:
            return _predict_network(MLP.load(path), arguments)
    if arguments.threads is not None:
        check_count("--threads", arguments.threads)
    estimator, dates = found
    return predict_table(estimator, dates, arguments)


def _predict_network(net, arguments):
    import numpy as np

    report = reporter(arguments.out)
    scores = Scores(net, arguments.threads)
    n_outputs = net.layer_sizes[-1]
    digits = "%.9g" if net.dtype == np.float32 else "%.17g"  # enough to get the same bits back
    names = ["output"] if n_outputs == 1 else [f"output_{i}" for i in range(n_outputs)]
    formats = [digits] * n_outputs
    if net.output == "softmax":
        names = ["class", *(f"probability_{i}" for i in range(n_outputs))]
        formats = ["%d", *formats]
    with reading_blocks(net, arguments.data, arguments.target) as blocks:
        tables = _tables(net, blocks, scores, arguments.threads)
        first = next(tables)  # what is bad in a small file is told before anything is written
        with writing_text("--out", arguments.out) as file:
            print(",".join(names), file=file)
            for table in chain([first], tables):
                np.savetxt(file, table, fmt=formats, delimiter=",")
    summary = [] if arguments.target is None else [str(scores)]
    report("\n".join([*summary, f"predictions: {arguments.out}"]))
    return DONE


def _tables(net, blocks, scores, n_threads):
    """What is written of each block of rows; those with answers are added to the scores."""
    import numpy as np

    from fastmlp.prediction import check_outputs

    n_before = 0
    for X, y in blocks:
        outputs = net.predict(X, n_threads=n_threads)
        check_outputs(outputs, "DATA, counted from 1 after the header,", first=1 + n_before)
        n_before += len(outputs)
        if y is not None:
            scores.add(X, y)
        if net.output == "softmax":
            outputs = np.column_stack([outputs.argmax(axis=1), outputs])
        yield outputs
