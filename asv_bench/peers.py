"""Time a training step of fastmlp and its peers, side by side: ``python -m asv_bench.peers``.

Every library trains the same networks on the same data, each run in a process of its own, all
in turn for several rounds; what counts is the fastest epoch of all rounds, divided by its
steps. Compilation and the first epoch are left out. A peer that is not installed is skipped.
"""

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import time

import numpy as np

from asv_bench.benchmarks.workloads import WORKLOADS

PEERS = {
    "fastmlp": "fastmlp",
    "jax": "jax",
    "torch": "torch",
    "torch-compiled": "torch",
    "scikit-learn": "sklearn",
}

SECONDS_PER_RUN = 3.0


def time_epochs(run_epoch, steps):
    """Fastest time of a step in seconds, after one epoch of warming up."""
    run_epoch()
    fastest, began, n_epochs = np.inf, time.perf_counter(), 0
    while n_epochs < 2 or time.perf_counter() - began < SECONDS_PER_RUN:
        start = time.perf_counter()
        run_epoch()
        fastest = min(fastest, time.perf_counter() - start)
        n_epochs += 1
    return fastest / steps


def time_fastmlp(workload, n_threads):
    """One step of `MLP.fit`'s loop, as its own trace times it."""
    import fastmlp

    X, y = workload.data()
    net = fastmlp.MLP(
        workload.sizes, activation=workload.activation, output=workload.output, seed=0
    )
    optimizer = {"adam": fastmlp.Adam(), "momentum": fastmlp.SGD(0.01, momentum=0.9)}
    began = []

    def enough(progress):
        began.append(time.perf_counter())
        if len(began) > 3 and began[-1] - began[1] > SECONDS_PER_RUN:
            raise StopIteration

    result = net.fit(
        X,
        y,
        optimizer=optimizer[workload.optimizer],
        batch_size=workload.batch,
        epochs=100_000,
        n_threads=n_threads,
        callbacks=[enough],
        seed=0,
    )
    return np.diff(result.trace["seconds"])[1:].min() / steps_of(workload, X)


def steps_of(workload, X):
    """Mini-batches of an epoch."""
    return -(-len(X) // (workload.batch or len(X)))


def time_jax(workload, n_threads):
    """The whole epoch in one jit, its steps in lax.scan; optax's formulas written out."""
    import jax
    import jax.numpy as jnp

    X, y = workload.data()
    batch = workload.batch or len(X)
    steps = len(X) // batch
    rng = np.random.default_rng(0)
    params = [
        (rng.standard_normal((a, b)).astype("f") * np.sqrt(2 / a), np.zeros(b, "f"))
        for a, b in zip(workload.sizes, workload.sizes[1:], strict=False)
    ]
    hidden = {"relu": jax.nn.relu, "tanh": jnp.tanh}[workload.activation]

    def loss(params, xb, yb):
        for W, b in params[:-1]:
            xb = hidden(xb @ W + b)
        z = xb @ params[-1][0] + params[-1][1]
        if workload.output == "softmax":
            return -jnp.take_along_axis(jax.nn.log_softmax(z), yb[:, None], 1).mean()
        return 0.5 * jnp.square(z - yb).sum(1).mean()

    def step(carry, index):
        params, m, v, t = carry
        g = jax.grad(loss)(params, X_[index], y_[index])
        tree = jax.tree_util.tree_map
        t = t + 1
        if workload.optimizer == "momentum":
            m = tree(lambda a, b: 0.9 * a + b, m, g)
            return (tree(lambda p, a: p - 0.01 * a, params, m), m, v, t), None
        m = tree(lambda a, b: 0.9 * a + 0.1 * b, m, g)
        v = tree(lambda a, b: 0.999 * a + 0.001 * b * b, v, g)
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        params = tree(lambda p, a, b: p - 1e-3 * (a / c1) / (jnp.sqrt(b / c2) + 1e-8), params, m, v)
        return (params, m, v, t), None

    @jax.jit
    def epoch(carry, order):
        return jax.lax.scan(step, carry, order)[0]

    X_, y_ = jnp.asarray(X), jnp.asarray(y)
    zeros = jax.tree_util.tree_map(np.zeros_like, params)
    carry = [(params, zeros, zeros, jnp.float32(0))]

    def run_epoch():
        order = rng.permutation(len(X))[: steps * batch].reshape(steps, batch)
        carry[0] = jax.block_until_ready(epoch(carry[0], jnp.asarray(order)))

    return time_epochs(run_epoch, steps)


def time_torch(workload, n_threads, compiled=False):
    """Eager or compiled modules with the fused Adam."""
    import torch

    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    X, y = (torch.from_numpy(a) for a in workload.data())
    layers = []
    for a, b in zip(workload.sizes, workload.sizes[1:], strict=False):
        layers += [
            torch.nn.Linear(a, b),
            {"relu": torch.nn.ReLU(), "tanh": torch.nn.Tanh()}[workload.activation],
        ]
    model = torch.nn.Sequential(*layers[:-1])
    if workload.optimizer == "momentum":
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, fused=True)
    else:
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    criterion = torch.nn.functional.cross_entropy
    if workload.output != "softmax":

        def criterion(z, target):
            return 0.5 * (z - target).square().sum(1).mean()

    def loss_of(xb, yb):
        return criterion(model(xb), yb)

    if compiled:
        loss_of = torch.compile(loss_of)
    batch = workload.batch or len(X)

    def run_epoch():
        order = torch.randperm(len(X))
        for start in range(0, len(X), batch):
            index = order[start : start + batch]
            optimizer.zero_grad()
            loss_of(X[index], y[index]).backward()
            optimizer.step()

    return time_epochs(run_epoch, steps_of(workload, X))


def time_sklearn(workload, n_threads):
    """partial_fit of an MLPClassifier or MLPRegressor, one epoch a call."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    X, y = workload.data()
    kind = MLPClassifier if workload.output == "softmax" else MLPRegressor
    model = kind(
        workload.sizes[1:-1],
        activation=workload.activation,
        solver="adam" if workload.optimizer == "adam" else "sgd",
        batch_size=workload.batch or len(X),
        alpha=0.0,
        random_state=0,
    )
    if workload.output == "softmax":
        classes = np.arange(workload.sizes[-1])
        return time_epochs(lambda: model.partial_fit(X, y, classes), steps_of(workload, X))
    y = y if y.shape[1] > 1 else y[:, 0]
    return time_epochs(lambda: model.partial_fit(X, y), steps_of(workload, X))


def peak_gflops(n_threads, seconds=0.5):
    """What a large float32 product of NumPy's BLAS reaches, in GFLOP/s."""
    n = 2048
    A = np.ones((n, n), np.float32)
    out = np.empty_like(A)
    fastest, began = np.inf, time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        np.dot(A, A, out=out)
        fastest = min(fastest, time.perf_counter() - start)
    return 2 * n**3 / fastest / 1e9


def measure(library, name, n_threads):
    """Run one measurement in this process."""
    if library == "peak":
        return peak_gflops(n_threads)
    if library == "torch-compiled":
        return time_torch(WORKLOADS[name], n_threads, compiled=True)
    timers = {
        "fastmlp": time_fastmlp,
        "jax": time_jax,
        "torch": time_torch,
        "scikit-learn": time_sklearn,
    }
    return float(timers[library](WORKLOADS[name], n_threads))


def measure_apart(library, name, n_threads):
    """Run one measurement in a new process with that many threads; None if it fails."""
    threads = str(n_threads)
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": threads,
        "OPENBLAS_NUM_THREADS": threads,
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if n_threads > 1 else 'false'} "
        f"intra_op_parallelism_threads={threads}",
    }
    # A core type forced for reproducibility would hold NumPy's peak and scikit-learn back.
    environment.pop("OPENBLAS_CORETYPE", None)
    command = [sys.executable, "-m", "asv_bench.peers", "--one", library, name, threads]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    try:
        return float(done.stdout.split()[-1])
    except (IndexError, ValueError):
        print(f"  {library} failed on {name}: {done.stderr.strip().splitlines()[-1:]}")
        return None


def cpu_name():
    """The CPU's model name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.split(":")[1].strip() for line in file if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m asv_bench.peers", description=__doc__)
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS))
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=list(PEERS))
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", help="file for all figures")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.one:
        library, name, threads = arguments.one
        print(measure(library, name, int(threads)))
        return
    libraries = []
    for library in arguments.peers:
        if importlib.util.find_spec(PEERS[library]) is None:
            print(f"{library} is not installed: skipped")
        else:
            libraries.append(library)
    figures = {}
    for _ in range(arguments.rounds):
        for name in ["peak", *arguments.workloads]:
            for threads in arguments.threads:
                for library in ["peak"] if name == "peak" else libraries:
                    value = measure_apart(library, name, threads)
                    if value is not None:
                        figures.setdefault((name, threads), {}).setdefault(library, []).append(
                            value
                        )
    print(f"\n{cpu_name()}, {os.cpu_count()} cores; microseconds a step, the fastest of all rounds")
    header = f"{'workload':<10} {'threads':>7} " + "".join(f"{x:>15}" for x in libraries)
    print(f"{header} {'peer/ours':>10} {'GFLOP/s':>8} {'of peak':>8}")
    report = []
    for name in arguments.workloads:
        for threads in arguments.threads:
            times = {x: min(v) for x, v in figures.get((name, threads), {}).items()}
            cells = "".join(
                f"{times[x] * 1e6:>15.1f}" if x in times else f"{'-':>15}" for x in libraries
            )
            row = {"workload": name, "threads": threads, "seconds": times}
            ours = times.get("fastmlp")
            others = [t for x, t in times.items() if x != "fastmlp"]
            tail = ""
            if ours:
                row["gflops"] = WORKLOADS[name].flops / ours / 1e9
                row["peak_gflops"] = max(figures["peak", threads]["peak"])
                row["ratio"] = min(others) / ours if others else None
                ratio = f"{row['ratio']:.2f}" if others else "-"
                share = row["gflops"] / row["peak_gflops"]
                tail = f" {ratio:>10} {row['gflops']:>8.1f} {share:>8.0%}"
            report.append(row)
            print(f"{name:<10} {threads:>7} {cells}{tail}")
    if arguments.json:
        with open(arguments.json, "w") as file:
            json.dump({"cpu": cpu_name(), "rows": report}, file, indent=1)


if __name__ == "__main__":
    main()
