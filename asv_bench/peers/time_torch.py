"""PyTorch: modules, eager or compiled, with the fused optimizers."""

from itertools import pairwise

import torch

from asv_bench.peers.clock import fastest_call, fastest_epoch

ACTIVATIONS = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}


def measure(task, n_threads, compiled=False):
    """Seconds of a step or call."""
    torch.set_num_threads(n_threads)
    torch.manual_seed(0)
    workload = task.workload
    X, y = (torch.from_numpy(array) for array in task.data())
    layers = []
    for n_in, n_out in pairwise(workload.sizes):
        layers += [torch.nn.Linear(n_in, n_out), ACTIVATIONS[workload.activation]()]
    model = torch.nn.Sequential(*layers[:-1]).to(X.dtype)

    def loss_of(X, y):
        z = model(X)
        if workload.output == "softmax":
            return torch.nn.functional.cross_entropy(z, y)
        return 0.5 * (z - y).square().sum(1).mean()

    if task.kind == "predict":
        return predict(model, X, workload.output == "softmax", compiled)
    if compiled:
        loss_of = torch.compile(loss_of)
    if task.kind == "train":
        return train(workload, model.parameters(), loss_of, (X, y))
    params = list(model.parameters())

    def gradient():
        value = loss_of(X, y)
        return value, torch.autograd.grad(value, params)

    return fastest_call(gradient)


def predict(model, X, softmax, compiled):
    """Seconds of a call."""

    def outputs(X):
        z = model(X)
        return torch.softmax(z, 1) if softmax else z

    if compiled:
        outputs = torch.compile(outputs)
    with torch.inference_mode():
        return fastest_call(lambda: outputs(X))


def train(workload, params, loss_of, data):
    """Seconds of a step; `loss_of` takes rows of each array of the data."""
    if workload.optimizer == "momentum":
        optimizer = torch.optim.SGD(params, 0.01, momentum=0.9, fused=True)
    elif workload.optimizer == "adamw":
        # One group, and so one loop: the decay is that of all parameters.
        optimizer = torch.optim.AdamW(params, 1e-3, weight_decay=0.01, fused=True)
    else:
        optimizer = torch.optim.Adam(params, 1e-3, fused=True)

    def step(*batch):
        optimizer.zero_grad()
        loss_of(*batch).backward()
        optimizer.step()

    def run_epoch():
        if workload.batch is None:
            step(*data)
            return
        for rows in torch.randperm(len(data[0])).split(workload.batch):
            step(*(array[rows] for array in data))

    return fastest_epoch(run_epoch) / workload.steps
