"""fastmlp evaluate: how well a saved model predicts."""

from fastmlp.cli.console import DONE
from fastmlp.cli.network_data import Scores, reading_blocks
from fastmlp.cli.options import EXIT_STATUSES, add_threads
from fastmlp.cli.table_data import predictions_of, scores_of, tables_for
from fastmlp.cli.table_models import load_model, rereadable


def add_parser(commands):
    parser = commands.add_parser(
        "evaluate",
        help="score a saved model on a table",
        description="""\
Print how well a saved model predicts a column of a table.

The table has the columns that the model was trained on, and the true answers. For classes the
scores are accuracy, log loss and the area under the ROC curve, of more than two the mean of each
against all others; for numbers the root mean squared error, the mean absolute error and R2; for
quantiles their mean loss, and the share of rows below each, which is to be its level; for a plain
network its loss, and accuracy or root mean squared error.""",
        epilog="example:\n  fastmlp evaluate model.safetensors test.csv --target species\n\n"
        + EXIT_STATUSES,
    )
    parser.set_defaults(run=_evaluate)
    parser.add_argument("model", metavar="MODEL", help="the file that fastmlp train wrote")
    parser.add_argument("data", metavar="DATA", help="the file; - is standard input")
    parser.add_argument(
        "--target", required=True, metavar="NAME", help="the column of true answers (required)"
    )
    add_threads(parser)


def _evaluate(arguments):
    from fastmlp.mlp import MLP
    from fastmlp.validation import check_count

    target = arguments.target
    with rereadable(arguments.model) as path:
        found = load_model(path)
        net = MLP.load(path) if found is None else None
    if net is not None:
        scores = Scores(net, arguments.threads)
        with reading_blocks(net, arguments.data, target) as blocks:
            for X, y in blocks:
                scores.add(X, y)
        print(scores)
        return DONE
    estimator, dates = found
    if arguments.threads is not None:
        check_count("--threads", arguments.threads)
        estimator.set_params(n_threads=arguments.threads)
    answers, predictions = [], []
    for table in tables_for(estimator, dates, arguments.data, target):
        answers.append(table.target)
        predictions.append(predictions_of(estimator, table.features))
    scores = scores_of(estimator, answers, predictions, target)
    for name, value in scores.items():
        print(f"{name:19} {value:.6g}")
    return DONE
