"""Optuna looks for a width and a learning rate, and prunes fits that fall behind.

    pip install optuna
    python examples/integrations/optuna_pruning.py --trials 20

A callback tells Optuna of the validation loss after each epoch, and raises what Optuna knows a
pruned trial by: an exception of a callback ends a fit and comes out of it. Early stopping ends the
others, so that a trial is judged by its best epoch.
"""

import argparse

import optuna

from fastmlp import MLP, Adam, EarlyStopping, Progress, datasets

X, y = datasets.load_digits()
TRAINING, HELD_OUT = (X[:1200], y[:1200]), (X[1200:], y[1200:])


def objective(trial: optuna.Trial) -> float:
    """The validation loss of the best epoch."""
    width = trial.suggest_int("width", 8, 128, log=True)
    rate = trial.suggest_float("learning_rate", 1e-4, 0.3, log=True)

    def report(progress: Progress) -> None:
        trial.report(progress.validation_loss, progress.epoch)
        if trial.should_prune():
            raise optuna.TrialPruned

    stopping = EarlyStopping(patience=5)
    MLP([64, width, 10], output="softmax", seed=0).fit(
        *TRAINING,
        optimizer=Adam(rate),
        epochs=40,
        validation_data=HELD_OUT,
        callbacks=[report, stopping],
        seed=0,
    )
    if stopping.best is None:  # it was never finite
        raise optuna.TrialPruned
    return stopping.best


def main() -> None:
    """Search, and say what was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--trials", type=int, default=20)
    trials = parser.parse_args().trials
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=2),
    )
    study.optimize(objective, n_trials=trials)
    pruned = sum(one.state is optuna.trial.TrialState.PRUNED for one in study.trials)
    print(f"{len(study.trials)} trials, {pruned} of them pruned")
    print(f"best validation loss {study.best_value:.4f} with {study.best_params}")


if __name__ == "__main__":
    main()
