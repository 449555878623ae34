"""MLflow keeps what a fit was given, how it went, and the network.

    pip install mlflow
    python examples/integrations/mlflow_tracking.py --folder runs
    mlflow ui --backend-store-uri sqlite:///runs/mlflow.db

A callback logs the numbers of each epoch, the model file of the best epoch is an artifact.
"""

import argparse
from pathlib import Path

import mlflow

from fastmlp import MLP, Adam, EarlyStopping, Metrics, ModelCheckpoint, Progress, datasets


def accuracy(y, outputs) -> float:
    """The share of rows whose most probable class is theirs."""
    return float((outputs.argmax(axis=1) == y).mean())


def log(progress: Progress) -> None:
    """Log the numbers of an epoch, off the clock of the fit."""
    record = progress.record
    numbers = {
        "objective": record.objective,
        "validation_loss": record.validation_loss,
        "learning_rate": record.learning_rate,
        "seconds": record.seconds,
        **progress.metrics,
    }
    mlflow.log_metrics(numbers, step=progress.epoch)


def main() -> None:
    """Train once, with all of it logged."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("runs"))
    parser.add_argument("--epochs", type=int, default=30)
    given = parser.parse_args()
    given.folder.mkdir(exist_ok=True)
    mlflow.set_tracking_uri(f"sqlite:///{given.folder / 'mlflow.db'}")
    if mlflow.get_experiment_by_name("digits") is None:
        artifacts = (given.folder / "artifacts").resolve().as_uri()
        mlflow.create_experiment("digits", artifact_location=artifacts)
    mlflow.set_experiment("digits")

    X, y = datasets.load_digits()
    optimizer = Adam(learning_rate=3e-3)
    net = MLP([64, 32, 10], output="softmax", seed=0)
    model = given.folder / "digits.safetensors"
    with mlflow.start_run() as run:
        mlflow.log_params({"layer_sizes": net.layer_sizes, "optimizer": optimizer, "seed": 0})
        result = net.fit(
            X[:1200],
            y[:1200],
            optimizer=optimizer,
            epochs=given.epochs,
            validation_data=(X[1200:], y[1200:]),
            callbacks=[Metrics(accuracy), log, EarlyStopping(patience=5), ModelCheckpoint(model)],
            seed=0,
        )
        mlflow.set_tag("status", result.message)
        mlflow.log_artifact(model)
    kept = mlflow.get_run(run.info.run_id).data
    print(f"{result.n_iter} epochs, {len(kept.metrics)} metrics, {len(kept.params)} parameters")
    print(f"accuracy of the last epoch {kept.metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
