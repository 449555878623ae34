"""Files of models for tables: those of the estimators, and how the columns of their data were read.

That is a text by name of the file, which the estimators leave alone.
"""

import json
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

# Names of texts in the files of estimators, which are told apart without scikit-learn, and of the
# text that is added.
_FORMAT, _DESCRIPTION, _DATES = "format", "estimator", "dates"


def save_model(estimator, path, dates):
    """Write an estimator to a file, with the formats of dates by column."""
    from fastmlp.sklearn.tabular_files import save_tabular

    save_tabular(estimator, path, "--out", {_DATES: json.dumps(dates)})


@contextmanager
def rereadable(path):
    """Yield a path that can be read more than once, which a pipe cannot."""
    if not Path(path).is_fifo():
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "model")
        with open(path, "rb") as pipe, open(copy, "wb") as file:
            shutil.copyfileobj(pipe, file)
        yield copy


def load_model(path):
    """Read an estimator for tables and the formats of dates; None if the file is of another kind.

    Raises
    ------
    ValueError
        If the file should hold an estimator, but does not.
    """
    from fastmlp.files import read_tensors

    try:
        _, texts = read_tensors(path)
    except (OSError, ValueError):  # of which those complain who read networks
        return None
    if _DESCRIPTION not in texts or not texts.get(_FORMAT, "").startswith("fastmlp-table"):
        return None
    from fastmlp.sklearn import TabularClassifier, TabularRegressor

    is_regressor = json.loads(texts[_DESCRIPTION]).get("class") == TabularRegressor.__name__
    kind = TabularRegressor if is_regressor else TabularClassifier
    return kind.load(path), json.loads(texts.get(_DATES, "{}"))
