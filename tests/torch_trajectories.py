"""Ten steps of torch's optimizers on a small network, and the file that keeps what they gave.

``python tests/torch_trajectories.py`` runs torch anew and writes the file.
"""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np

GOLDEN = Path(__file__).parent / "golden" / "torch_trajectories.json"

SIZES = (3, 4, 3)
N_STEPS = 10
BATCH_SIZE = 6
L2 = 0.01
WEIGHT_DECAY = 0.05
# Long enough for steps that differ from torch's to show, short enough to stay on the slope.
LEARNING_RATE = 0.05

# Written form of each optimizer, and its torch class with the keywords for the same thing.
METHODS = {
    "sgd(learning_rate=0.05)": ("SGD", {}),
    "sgd(learning_rate=0.05, momentum=0.9)": ("SGD", {"momentum": 0.9}),
    "sgd(learning_rate=0.05, momentum=0.9, nesterov=True)": (
        "SGD",
        {"momentum": 0.9, "nesterov": True},
    ),
    "adagrad(learning_rate=0.05)": ("Adagrad", {}),
    "rmsprop(learning_rate=0.05)": ("RMSprop", {}),
    "rmsprop(learning_rate=0.05, rho=0.9, momentum=0.5)": (
        "RMSprop",
        {"alpha": 0.9, "momentum": 0.5},
    ),
    "adam(learning_rate=0.05)": ("Adam", {}),
    # With a short memory, so that the largest square is not always the latest.
    "adam(learning_rate=0.05, beta_2=0.5, amsgrad=True)": (
        "Adam",
        {"betas": (0.9, 0.5), "amsgrad": True},
    ),
    "adamw(learning_rate=0.05, weight_decay=0.05)": ("AdamW", {}),
    "adamw(learning_rate=0.05, weight_decay=0.05, beta_2=0.5, amsgrad=True)": (
        "AdamW",
        {"betas": (0.9, 0.5), "amsgrad": True},
    ),
    "nadam(learning_rate=0.05)": ("NAdam", {}),
    "nadam(learning_rate=0.05, momentum_decay=0.5)": ("NAdam", {"momentum_decay": 0.5}),
}


def problem():
    """Where to start, samples and classes: theta (31,), X (60, 3), y (60,)."""
    rng = np.random.default_rng(0)
    n_params = sum((n_in + 1) * n_out for n_in, n_out in pairwise(SIZES))
    n_rows = N_STEPS * BATCH_SIZE
    theta = rng.normal(scale=0.5, size=n_params)
    return theta, rng.normal(size=(n_rows, SIZES[0])), rng.integers(0, SIZES[-1], n_rows)


def torch_trajectory(written, theta, X, y, factors=(1.0, 1.0)):
    """Theta after each step of torch's optimizer, (N_STEPS, n_params).

    The learning rate is multiplied by the factor of the weights, and of the biases. Softmax and
    cross-entropy over tanh, plus ``L2 / 2`` times the squared weights, rows in order.
    """
    import torch

    layers, start = [], 0
    for n_in, n_out in pairwise(SIZES):
        W = torch.tensor(theta[start : start + n_in * n_out].reshape(n_in, n_out))
        start += n_in * n_out
        b = torch.tensor(theta[start : start + n_out])
        start += n_out
        layers.append((W.requires_grad_(), b.requires_grad_()))
    weights, biases = [W for W, _ in layers], [b for _, b in layers]
    name, keywords = METHODS[written]
    # torch would decay the biases as well.
    decay = WEIGHT_DECAY if name == "AdamW" else 0.0
    groups = [
        {"params": weights, "weight_decay": decay, "lr": LEARNING_RATE * factors[0]},
        {"params": biases, "weight_decay": 0.0, "lr": LEARNING_RATE * factors[1]},
    ]
    # NAdam keeps a product in torch's default dtype.
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        optimizer = getattr(torch.optim, name)(groups, lr=LEARNING_RATE, **keywords)
        trajectory = []
        for first in range(0, len(X), BATCH_SIZE):
            output = torch.tensor(X[first : first + BATCH_SIZE])
            for number, (W, b) in enumerate(layers, start=1):
                output = output @ W + b
                if number < len(layers):
                    output = torch.tanh(output)
            labels = torch.tensor(y[first : first + BATCH_SIZE])
            loss = torch.nn.functional.cross_entropy(output, labels)
            loss = loss + L2 / 2 * sum((W**2).sum() for W in weights)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            parts = [part.detach().numpy().ravel() for layer in layers for part in layer]
            trajectory.append(np.concatenate(parts))
    finally:
        torch.set_default_dtype(before)
    return np.array(trajectory)


def take_steps(torch, named, written, objective):
    """Take ten steps on torch's tensors, by name, of which all but the biases decay.

    `objective` gives the loss, a tensor, of a slice of rows.
    """
    decays = [v for n, v in named.items() if not n.startswith("biases")]
    biases = [v for n, v in named.items() if n.startswith("biases")]
    name, keywords = METHODS[written]
    decay = WEIGHT_DECAY if name == "AdamW" else 0.0
    groups = [{"params": decays, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # of NAdam's product
    try:
        optimizer = getattr(torch.optim, name)(groups, lr=LEARNING_RATE, **keywords)
        for first in range(0, N_STEPS * BATCH_SIZE, BATCH_SIZE):
            optimizer.zero_grad()
            objective(slice(first, first + BATCH_SIZE)).backward()
            optimizer.step()
    finally:
        torch.set_default_dtype(before)


def read_golden():
    """The problem and the trajectories by optimizer, as arrays."""
    kept = json.loads(GOLDEN.read_text(encoding="utf-8"))
    start, X, y = (np.array(kept[name]) for name in ("theta", "X", "y"))
    return start, X, y, {name: np.array(path) for name, path in kept["trajectories"].items()}


def write_golden():
    """Run torch and write the file."""
    import torch

    theta, X, y = problem()
    kept = {
        "torch": torch.__version__,
        "theta": theta.tolist(),
        "X": X.tolist(),
        "y": y.tolist(),
        "trajectories": {name: torch_trajectory(name, theta, X, y).tolist() for name in METHODS},
    }
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps(kept, indent=0) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_golden()
