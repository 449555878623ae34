"""PyTorch's L-BFGS with its strong Wolfe search, full batch, all iterations in one step."""

import time

import torch

from asv_bench.peers.clock import fastest_run
from asv_bench.peers.minimizations import HISTORY, ITERATIONS, L2, MOST_EVALUATIONS, Run

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}


def run(problem, n_threads, minimizer):
    """Run torch.optim.LBFGS from the problem's start; return the Run."""
    torch.set_num_threads(n_threads)
    workload = problem.workload
    activation = ACTIVATIONS[workload.activation]
    X, y = (torch.from_numpy(array) for array in problem.data())

    def run_once():
        layers = [
            [torch.from_numpy(array).requires_grad_() for array in layer]
            for layer in problem.start()
        ]
        optimizer = torch.optim.LBFGS(
            [parameter for layer in layers for parameter in layer],
            max_iter=ITERATIONS,
            max_eval=MOST_EVALUATIONS,
            tolerance_grad=0.0,
            tolerance_change=0.0,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )
        values, times = [], []

        def closure():
            optimizer.zero_grad()
            z = X
            for W, b in layers[:-1]:
                z = activation(torch.addmm(b, z, W))
            z = torch.addmm(layers[-1][1], z, layers[-1][0])
            if workload.output == "softmax":
                loss = torch.nn.functional.cross_entropy(z, y)
            else:
                loss = 0.5 * (z - y).square().sum(1).mean()
            loss = loss + L2 / 2 * sum(W.square().sum() for W, _ in layers)
            loss.backward()
            values.append(loss.item())
            times.append(time.perf_counter() - began)
            return loss

        began = time.perf_counter()
        optimizer.step(closure)
        seconds = time.perf_counter() - began
        iterations = next(iter(optimizer.state.values()))["n_iter"]
        return Run(seconds, iterations, len(values), values, times)

    return fastest_run(run_once)
