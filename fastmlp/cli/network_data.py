"""Numbers of a file as a plain network takes them."""

from fastmlp.cli.options import MOST_CLASSES
from fastmlp.cli.streams import opened


def split_rows(n_rows, fraction, seed):
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


def describe_task(n_classes):
    return f"classification, {n_classes} classes" if n_classes else "regression"


def count_classes(y, task, option):
    """Number of classes of a target, 0 for regression; `option` is how it was named."""
    import numpy as np

    if task == "regression":
        return 0
    values = np.unique(y)
    whole = np.array_equal(values, np.trunc(values))  # 1.0 as well as 1
    if task == "auto" and not (whole and values.size <= MOST_CLASSES):
        return 0
    if whole and values.size > 1 and values[0] == 0 and values[-1] == values.size - 1:
        return values.size
    shown = ", ".join(f"{value:g}" for value in values[:5]) + (", ..." if values.size > 5 else "")
    other = ", or say --task regression" if task == "auto" else ""
    raise ValueError(
        f"{option} must hold classes numbered 0, 1, 2, ... without gaps, two at least, "
        f"got {shown}: renumber them in the file{other}"
    )


def rounded_rows(X, features, y, target, dtype):
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


def rows_for(net, data, target):
    """X and y, which is None without a target, of a file, with columns as a network has them."""
    from fastmlp.datasets import load_csv
    from fastmlp.datasets.csv_table import load_columns

    data, features = opened(data), net.feature_names
    if features is not None:
        X, y = load_columns(data, features, target)
    else:
        X, y, features = load_csv(data, target)
        n_inputs = net.layer_sizes[0]
        if X.shape[1] != n_inputs:
            hint = "; name the target column with --target" if X.shape[1] == n_inputs + 1 else ""
            raise ValueError(
                f"DATA must have {n_inputs} feature columns, one for each input of MODEL, got "
                f"{X.shape[1]}{hint}"
            )
    return rounded_rows(X, features, y, target, net.dtype)


def describe_scores(net, X, y, n_threads):
    """How well a network predicts the rows of a file."""
    from fastmlp.scoring import score

    loss = net.loss(X, y, n_threads=n_threads)
    name, value = score(net, X, y, n_threads=n_threads)
    return f"loss {loss:.6g}, {name} {value:.6g} on {len(X)} rows"
