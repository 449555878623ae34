"""What a user writes, with types: `mypy --strict` has nothing to say about it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import fastmlp
from fastmlp import (
    LBFGS,
    MLP,
    RNN,
    SGD,
    Adam,
    AdamW,
    Categorical,
    CosineAnnealing,
    EarlyStopping,
    FitResult,
    FunctionProblem,
    Metrics,
    MLPClassifier,
    MLPRegressor,
    ModelCheckpoint,
    Numeric,
    Progress,
    TabularClassifier,
    TabularRegressor,
    Trace,
    Windowed,
    check_gradient,
    compare,
    compare_problems,
    datasets,
    fit_many,
    fit_parts,
    minimize,
)

Array = NDArray[np.float64]


def say(progress: Progress) -> None:
    print(progress.epoch, progress.record.objective, progress.validation_loss, progress.metrics)
    if progress.epoch == 2:
        raise StopIteration("enough")


def networks(folder: Path) -> Array:
    X, y = datasets.load_digits()
    net = MLP(
        [64, 32, 10], activation=["relu"], output="softmax", norm="batch", dropout=0.1, seed=0
    )
    result: FitResult = net.fit(
        X,
        y,
        optimizer=[Adam(CosineAnnealing(0.01, period=5), epochs=2), "sgd(learning_rate=0.1)"],
        batch_size=32,
        epochs=3,
        validation_data=(X[:100], y[:100]),
        callbacks=[
            say,
            Metrics(["accuracy"]),
            EarlyStopping(patience=3, monitor="accuracy"),
            ModelCheckpoint(folder / "best.safetensors"),
        ],
        shuffle=Windowed(),
        seed=0,
    )
    trace: Trace = result.trace
    losses: Array = trace["objective"]
    first: float = trace[0].objective
    newest: list[float] = [record.validation_loss for record in trace]
    print(result.status, result.success, result.loss + first, losses.max(), newest, repr(result))
    trace.to_csv(folder / "trace.csv")
    result.plot(x="seconds").savefig(folder / "fit.png")
    print(trace.to_frame().describe())
    score: float = net.score(X, y)
    value, gradient = net.loss_and_grad(X, y, l2=1e-4)
    print(score, value, gradient.sum(), net.loss(X, y), net.predict_proba(X).sum(), net.layer_sizes)
    for name, view in net.parameters:
        print(name, view.shape)
    net.theta = net.theta * 2
    net.save(folder / "net.safetensors")
    again = MLP.load(folder / "net.safetensors").copy()
    print(check_gradient(again, X[:5], y[:5]))
    outputs: NDArray[np.float32] | Array = again.predict(X)
    return outputs.astype(np.float64)


def sequences(X: Array, y: Array) -> FitResult:
    net = RNN([3, 8, 1], sequence="last", seed=0)
    return net.fit(X, y, lengths=np.full(len(X), 4), epochs=1, optimizer=SGD(0.01, momentum=0.9))


def tables(X: Array, y: Array) -> Array:
    net = MLP([3, 16, 1], inputs=[Numeric([0, 1], "periodic"), Categorical(2, 30, size=4)], seed=0)
    fastmlp.fit(net, X, y, optimizer=AdamW(1e-3, weight_decay=0.1), standardize=False)
    nets = [MLP([3, 4, 1], seed=seed) for seed in range(3)]
    results = fit_many(nets, X, y, seeds=0, optimizer=LBFGS(), epochs=3, rows=[np.arange(5)] * 3)
    parts: list[Callable[[], tuple[Array, Array]]] = [lambda: (X, y)]
    fit_parts(nets[0], parts, epochs=2)
    return np.array([result.loss for result in results])


def valley(x: Array) -> tuple[float, Array]:
    return float(x @ x), 2 * x


def comparisons(net: MLP, X: Array, y: Array, folder: Path, result: FitResult) -> dict[str, float]:
    comparison = compare(net, X, y, {"adam": Adam(), "mine": "lbfgs"}, passes=3, seeds=[0, 1])
    print(comparison, comparison.table())
    comparison.to_csv(folder / "comparison.csv")
    comparison.to_html(folder / "comparison.html")
    axes = result.plot().axes[0]
    comparison.plot(ax=axes, measure="passes").set_title("comparison")
    comparison.plot(folder / "comparison.png").savefig(folder / "again.png")
    several = compare_problems(["sin", "rosenbrock"], ["bfgs", "lbfgs"], passes=20)
    for name, one in several.items():
        print(name, one.target, several.profile("passes").fractions)
    minimum = minimize(valley, [1.0, 2.0], optimizer=LBFGS(max_iterations=5), callbacks=say)
    print(minimum.theta)
    problem = FunctionProblem("bowl", lambda _: valley, lambda _: np.ones(2), target=1e-6)
    print(problem.name)
    return {name: result.loss for name, result in comparison.results.items()}


def estimators(X: Array, y: Array) -> float:
    classifier = MLPClassifier((32,), early_stopping=True, standardize=True, random_state=0)
    fitted: MLPClassifier = classifier.fit(X, y)
    probabilities: Array = fitted.predict_proba(X)
    regressor = MLPRegressor(hidden_layer_sizes=(16, 16), solver="lbfgs").fit(X, y)
    table = TabularClassifier(n_networks=2, epochs=5, random_state=0).fit(X, y)
    number = TabularRegressor(n_networks=2, epochs=5, random_state=0).fit(X, y)
    print(probabilities.shape, regressor.predict(X), table.predict(X), number.predict(X))
    return float(fitted.score(X, y) + table.score(X, y))


def mistakes(net: MLP, X: Array, y: Array) -> None:
    """Of which a type checker has to tell: --strict complains of comments that nothing needs."""
    net.fit(X, y, epoch=5)  # type: ignore[call-arg]
    net.fit(X, y, epochs="5")  # type: ignore[arg-type]
    fastmlp.fit(net, X, y, learning_rate=0.1)  # type: ignore[call-arg]
    fit_many([net], X, y, epoch=5)  # type: ignore[call-arg]
    fit_many([net], X, y, epochs="5")  # type: ignore[arg-type]
    fit_parts(net, [], epoch=5)  # type: ignore[call-arg]
    compare(net, X, y, ["adam"], pass_=5)  # type: ignore[call-arg]
    minimize(valley, [1.0], epochs=5)  # type: ignore[call-arg]
    MLP([2, 1], random_state=0)  # type: ignore[call-arg]
    Adam(lr=0.1)  # type: ignore[call-arg]
    net.fit(X, y, optimizer=Adam)  # type: ignore[arg-type]
    MLPClassifier(lr=0.1)  # type: ignore[call-arg]
