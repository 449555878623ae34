"""Training of one plain network on numbers."""

import math

from fastmlp.cli.console import DIVERGED, DONE, INTERRUPTED, print_error, reporter, say
from fastmlp.cli.network_data import (
    count_classes,
    describe_task,
    read_numbers,
    rounded_rows,
    split_rows,
    take_rows,
)


def train_network(arguments):
    """Train a network as the options say, save it, and print its scores; return the status."""
    import numpy as np

    from fastmlp.mlp import MLP
    from fastmlp.result import Status
    from fastmlp.scoring import score
    from fastmlp.writing import check_writable

    check_writable("--out", arguments.out)
    X, y, features = read_numbers(arguments.data, arguments.target)
    n_classes = count_classes(y, arguments.task, f"--target {arguments.target}")
    X, y = rounded_rows(X, features, y, arguments.target, arguments.dtype)
    training, held_out = split_rows(X, arguments.validation_fraction, arguments.seed)
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
    report = reporter(arguments.out)
    X_training, X_held_out = (take_rows(X, rows, net.dtype) for rows in (training, held_out))
    result = net.fit(
        X_training,
        y[training],
        optimizer=arguments.optimizer,
        loss=arguments.loss,
        batch_size="auto" if arguments.batch_size is None else arguments.batch_size,
        epochs=arguments.epochs,
        l1=arguments.l1,
        l2=arguments.l2,
        validation_data=(X_held_out, y[held_out]) if len(held_out) else None,
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
        f"{describe_task(n_classes)}; network {'-'.join(map(str, net.layer_sizes))}, "
        f"{net.n_params:,} parameters"
    )
    if diverged:
        print_error(f"training diverged, no model is saved: {result.message}")
        return DIVERGED
    report(
        f"{result.status}: {result.message}; {result.n_iter} epochs or iterations in "
        f"{result.seconds:.3g} s\n"
        f"objective {result.loss:.6g} on the {len(training)} rows trained on"
        f"{', standardized' if arguments.standardize else ''}"
    )
    rows, which = (held_out, "held out") if len(held_out) else (training, "trained on")
    X = X_held_out if len(held_out) else X_training
    options = {"loss": arguments.loss, "n_threads": arguments.threads}
    loss = net.loss(X, y[rows], **options)
    if not math.isfinite(loss):
        bad = ~np.isfinite(net.predict(X)).all(axis=1)
        say(
            f"fastmlp: warning: of the rows {which}, {bad.sum()} have outputs that are not finite, "
            f"first row {rows[bad][0]} of DATA: its numbers are too large for the weights"
        )
    name, value = score(net, X, y[rows], **options)
    report(f"loss {loss:.6g}, {name} {value:.6g} on the {len(rows)} rows {which}")
    report(f"model: {arguments.out}")
    if interrupted:
        say("fastmlp: interrupted; the model so far is saved")
        return INTERRUPTED
    return DONE
