"""The gradient of a chain of functions, four ways, and how many calls each takes.

A chain of K functions, each with a parameter of its own,

    a_k = h_k(a_{k-1}, w_k),  k = 1, ..., K,  and the objective is a_K,

is the skeleton of a network with K layers. Its gradient by w_1, ..., w_K can be had by
differences, or by the chain rule, which can be evaluated for each parameter by itself or from the
end to the front, as backpropagation does.
"""

import argparse

import numpy as np

import fastmlp


class Chain:
    """a_k = tanh(w_k a_{k-1}), with its calls counted."""

    def __init__(self, w, a0=1.0):
        self.w = w
        self.a0 = a0
        self.n_functions = 0
        self.n_derivatives = 0

    def layer(self, k, a, w):
        self.n_functions += 1
        return np.tanh(w * a)

    def by_activation(self, k, a):
        """Derivative of h_k by what comes into it, a_{k-1} = a."""
        self.n_derivatives += 1
        return self.w[k] / np.cosh(self.w[k] * a) ** 2

    def by_parameter(self, k, a):
        """Derivative of h_k by its parameter w_k, where a_{k-1} = a."""
        self.n_derivatives += 1
        return a / np.cosh(self.w[k] * a) ** 2

    def forward(self, w):
        """All activations a_0, ..., a_K: K calls of functions."""
        activations = [self.a0]
        for k, weight in enumerate(w):
            activations.append(self.layer(k, activations[-1], weight))
        return activations


def finite_differences(chain, step=1e-7):
    """One more run through the chain for each parameter."""
    K = len(chain.w)
    value = chain.forward(chain.w)[-1]
    return np.array([(chain.forward(chain.w + h)[-1] - value) / step for h in step * np.eye(K)])


def central_differences(chain, step=1e-5):
    """Two runs for each parameter; the error is of the order step^2 instead of step."""
    K = len(chain.w)
    chain.forward(chain.w)
    return np.array(
        [
            (chain.forward(chain.w + h)[-1] - chain.forward(chain.w - h)[-1]) / (2 * step)
            for h in step * np.eye(K)
        ]
    )


def direct_chain_rule(chain):
    """The product of derivatives, from the last function back to h_k, anew for each w_k."""
    K = len(chain.w)
    a = chain.forward(chain.w)
    gradient = np.empty(K)
    for k in range(K):
        product = 1.0
        for later in range(K - 1, k, -1):
            product *= chain.by_activation(later, a[later])
        gradient[k] = product * chain.by_parameter(k, a[k])
    return gradient


def backpropagation(chain):
    """The same products, each made from the one behind it: delta goes from the end to the front."""
    K = len(chain.w)
    a = chain.forward(chain.w)
    gradient = np.empty(K)
    delta = 1.0
    for k in range(K - 1, -1, -1):
        gradient[k] = delta * chain.by_parameter(k, a[k])
        if k > 0:
            delta *= chain.by_activation(k, a[k])
    return gradient


WAYS = {
    "finite differences": finite_differences,
    "central differences": central_differences,
    "direct chain rule": direct_chain_rule,
    "backpropagation": backpropagation,
}


def count_calls(way, K):
    """Run one of the ways on a chain of K functions.

    Returns
    -------
    gradient : ndarray (K,)
    n_extra : int
        Calls of functions besides the K of the objective itself.
    n_derivatives : int
        Calls of derivatives.
    """
    chain = Chain(np.random.default_rng(K).uniform(0.8, 1.2, K))
    gradient = way(chain)
    return gradient, chain.n_functions - K, chain.n_derivatives


def main(figure=None):
    for K in (5, 10, 50):
        print(f"chain of K = {K} functions")
        print(f"  {'':<20}{'extra calls of h':>18}{'derivatives':>13}{'difference':>12}")
        exact, _, _ = count_calls(backpropagation, K)
        for name, way in WAYS.items():
            gradient, n_extra, n_derivatives = count_calls(way, K)
            difference = np.linalg.norm(gradient - exact) / np.linalg.norm(exact)
            print(f"  {name:<20}{n_extra:>18,}{n_derivatives:>13,}{difference:>12.0e}")
    print("difference: from backpropagation's gradient, relative\n")

    print("a network of fastmlp, 3-4-4-2 with tanh: backpropagation against central differences")
    rng = np.random.default_rng(0)
    net = fastmlp.MLP([3, 4, 4, 2], activation="tanh", seed=0)
    print(fastmlp.check_gradient(net, rng.normal(size=(20, 3)), rng.normal(size=(20, 2))))
    print(
        f"{net.n_params} parameters: {2 * net.n_params} evaluations for the differences, "
        "one forward and one backward pass for backpropagation"
    )
    if figure is not None:
        draw(figure)


def draw(path):
    """Calls against the length of the chain."""
    from matplotlib.figure import Figure

    lengths = np.unique(np.geomspace(1, 100, 13).round().astype(int))
    styles = zip(("#D55E00", "#CC79A7", "#0072B2", "#009E73"), "s^oD", strict=True)
    figure = Figure(figsize=(6.4, 4.4), dpi=150, layout="constrained")
    panel = figure.subplots()
    for (name, way), (colour, marker) in zip(WAYS.items(), styles, strict=True):
        counts = [max(count_calls(way, K)[1:]) for K in lengths]
        panel.loglog(lengths, counts, color=colour, marker=marker, markersize=5)
        panel.annotate(
            name,
            (lengths[-1], counts[-1]),
            xytext=(6, 0),
            textcoords="offset points",
            color=colour,
            va="center",
        )
    panel.minorticks_off()
    panel.set_xlim(right=700)  # room for the names
    panel.spines["bottom"].set_bounds(panel.get_xlim()[0], lengths[-1])
    panel.set_xlabel("functions in the chain, K")
    panel.set_ylabel("calls: of functions for differences, else of derivatives")
    panel.set_xticks([1, 10, 100], ["1", "10", "100"])
    panel.grid(color="0.9", linewidth=0.7)
    panel.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figure", metavar="PATH", help="draw the counts into this file")
    main(parser.parse_args().figure)
