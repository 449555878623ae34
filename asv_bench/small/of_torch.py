"""PyTorch's fits: eager modules and its fused Adam."""

import torch

from asv_bench.peers.time_torch import ACTIVATIONS


def fit(task, epochs):
    """What makes a fit."""
    torch.set_num_threads(1)  # which is the fastest for so little work
    torch.manual_seed(0)
    X, y = (torch.from_numpy(array) for array in task.data())
    layers = []
    for n_in, n_out in zip(task.sizes, task.sizes[1:], strict=False):
        layers += [torch.nn.Linear(n_in, n_out), ACTIVATIONS[task.activation]()]
    model = torch.nn.Sequential(*layers[:-1])

    def loss_of(X, y):
        z = model(X)
        if task.output == "softmax":
            return torch.nn.functional.cross_entropy(z, y)
        return 0.5 * (z - y).square().sum(1).mean()

    def run():
        for layer in model:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        optimizer = torch.optim.Adam(model.parameters(), fused=True)

        def step(X, y):
            optimizer.zero_grad()
            loss_of(X, y).backward()
            optimizer.step()

        for _ in range(epochs):
            if task.batch is None:
                step(X, y)
                continue
            for rows in torch.randperm(len(X)).split(task.batch):
                step(X[rows], y[rows])

    return run
