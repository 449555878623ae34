"""MLP: a network that can also predict, evaluate, train, and be written to a file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import numpy as np

from fastmlp import files, fitting, network
from fastmlp.export import check_installed
from fastmlp.kernels import codes
from fastmlp.network import Network
from fastmlp.objective import evaluate_once
from fastmlp.options import Loss
from fastmlp.pace import Pace
from fastmlp.prediction import plan_program, predict
from fastmlp.sweep import SpareSweep

if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    from numpy.typing import ArrayLike

    from fastmlp.options import Features

# Bytes of workspace that a network keeps from one evaluation to the next: few, for there may be
# many networks, yet all that is made faster by it, because larger ones take some 1 ms anyway.
LARGEST_SPARE = 1 << 21


class MLP(Network):
    """A multilayer perceptron with all its parameters in one vector.

    Parameters
    ----------
    layer_sizes : sequence of int
        Number of inputs, units of each hidden layer, number of outputs: ``[784, 16, 16, 10]``.
    activation : str or sequence of str, default "relu"
        Of all hidden layers, or one for each: "identity", "relu", "leaky_relu" (slope 0.01, or
        "leaky_relu(0.2)"), "sigmoid", "tanh", "elu", "selu", "gelu" (exact), "silu",
        "mish", "softplus" or "exponential". Two kinds have a trainable number alpha for each unit.
        "prelu" is x where x is positive, else alpha x, and alpha starts at 0.25 (He et al.,
        "Delving deep into rectifiers", ICCV 2015). "parametric(selu)", "parametric(mish)", or
        another name in their place, are x + alpha (f(x) - x), and alpha starts at 1 (Holzmüller et
        al., "Better by default", NeurIPS 2024).
    output : str, default "identity"
        Of the output layer: one of the above without such numbers, or "softmax".
    dtype : {"float32", "float64"}, default "float32"
        Of the parameters and of all computation. float32 is twice as fast; float64 is for
        second-order methods run to high accuracy.
    init : str, default "auto"
        Distribution of the starting weights: "glorot_uniform", "glorot_normal", "he_uniform",
        "he_normal", "lecun_uniform", "lecun_normal" or "auto", which picks by each layer's
        activation. Biases start at 0. "data" is drawn by the first `fit` of a network whose biases
        are all 0: weights from N(0, 1), scaled so that each unit's product with the rows has
        variance 1, and each bias minus a random convex combination of five rows' products, so that
        kinks of activations lie among the rows (Holzmüller et al. 2024, arXiv:2407.04491).
    seed : int or None, default None
        Of the starting weights. The same seed gives the same weights, up to rounding also for
        the other dtype. None draws afresh.
    norm : None, "batch", "layer", or a sequence of them, default None
        Of the hidden layers' pre-activations z, all or one for each:
        (z - m) / sqrt(v + 1e-5) * gamma + beta. gamma, which starts at 1, and beta, which starts
        at 0, are parameters of each unit, and neither penalties nor weight decay touch them.
        "layer" has the mean m and the biased variance v of a row's units (Ba, Kiros and Hinton,
        "Layer normalization", 2016). "batch" has those of each unit over a mini-batch, of which
        all rows are in memory at a time (Ioffe and Szegedy, "Batch normalization", ICML 2015). A
        mini-batch of one row is refused, and sample weights play no part. While it trains, running
        means and unbiased variances move by 0.1 towards those of each mini-batch, as in PyTorch.
        `predict`, `loss`, `loss_and_grad` and validation go by these. Solvers refuse "batch", by
        which the objective is another one for each mini-batch.
    dropout : float, sequence of float, or Schedule, default 0.0
        Probability p, in [0, 1), that an output of a hidden layer is replaced by 0 in an update:
        of all hidden layers, or one for each; 0.1 to 0.5 is usual. Whatever is kept is divided by
        1 - p, so that expectations stay: `predict`, `loss`, `loss_and_grad` and validation go
        without dropout. A schedule, such as ``FlatCosine(0.15)``, or its written form, gives the
        probability of all hidden layers in each update, and must stay below 1. p is rounded to a
        multiple of 2^-16, also in 1 - p. The masks of an update follow from the seed of `fit`, the
        number of the update and the rows' places in the epoch: they are the same for any number of
        threads, and after a checkpoint; members have masks of their own. Solvers need a function
        that is not random, and refuse such a network. Srivastava et al., "Dropout: a simple way to
        prevent neural networks from overfitting", JMLR 15:1929-1958 (2014).
    input_dropout : float, default 0.0
        The same for all that the first layer takes, after `inputs` and `input_scale`, one-hot codes
        included, but never a schedule. Members have the same masks.
    residual : bool or sequence of bool, default False
        Whether a hidden layer adds its input to its output, after the activation: one for each
        layer, or True for all layers that have as many units as inputs (He et al., "Deep residual
        learning for image recognition", CVPR 2016).
    tied : sequence of pairs of int, default ()
        Layers, counted from 1, that share their weights: with ``[(3, 2)]`` layer 3 has those of
        layer 2, while its biases stay its own. Their shapes must agree. theta has shared weights
        once, and their gradient is the sum of the layers'.
    input_scale : bool, default False
        Whether each input of the first layer is multiplied by a trainable factor of its own, which
        starts at 1 (Holzmüller et al. 2024, who train it at six times the learning rate: see
        `factors` of the optimizers).
    inputs : sequence of Numeric and Categorical, or None, default None
        How columns of X enter: as numbers or embeddings of them, see `fastmlp.Numeric`, or as
        categories, one-hot or embedded, see `fastmlp.Categorical`. Columns without an entry enter
        as they are; None is all of them. ``layer_sizes[0]`` stays the number of columns of X.
    members : int, default 1
        So many networks in one, which share the weights W of each hidden layer and nothing else
        in it but alpha, gamma and beta. Member m has factors r_m of the layer's inputs and s_m of
        its outputs, and biases b_m of its own, ``z_m = s_m * ((r_m * x_m) W) + b_m`` before norm
        and activation, and its own output layer (Wen et al., "BatchEnsemble", ICLR 2020;
        Gorishniy et al., "TabM", ICLR 2025). The loss is the mean of the members' losses, and
        `predict` gives the mean of their outputs. Factors start at 1, but r of the first layer at
        -1 or 1, at random, so that members differ. k members cost the time of k networks; 8 to 32
        make a good ensemble.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters, as `parameters` lists them: of a plain network for each layer its weights,
        row by row, then its biases. Assigning copies the values in; changing it in place changes
        the network.
    weights : tuple of ndarray, (n_in, n_out) each
        Views of theta. Of layers that are tied both are the same. With members the output layer
        has those of each, (members, n_in, n_out).
    biases : tuple of ndarray, (n_out,) each
        Views of theta; with members (members, n_out).
    parameters : tuple of (str, ndarray)
        Names and views of all that theta holds, in its order. Of a plain network they are
        "weights[0]", "biases[0]", "weights[1]" and so on. The others, of which each network has
        those of its pieces, are "norm_scale[0]" (gamma) and "norm_shift[0]" (beta), (n_out,);
        "activation[0]" (alpha), (n_out,); "input_scale"; "embedding[2]" of a column of categories,
        (n_categories, size); "periodic[0].frequencies", "piecewise[0].weights" and the like of
        columns of numbers; "member_inputs[0]" (r), (members, n_in), and "member_outputs[0]" (s),
        (members, n_out). Input scales and factors r of one-hot codes stand apart, as
        "input_scale.one_hot" and "member_inputs[0].one_hot".
    statistics : dict of str to ndarray
        The running statistics of norm="batch": "norm_mean[0]", "norm_variance[0]" and so on,
        (n_out,) each. They are no part of theta; copies, pickles, files and checkpoints have them.

    Raises
    ------
    ValueError, TypeError
        For sizes below 1, unknown names, another dtype, a sequence that has not one entry for
        each hidden layer, `residual` of a layer that has not as many units as inputs, `tied`
        layers of different shapes, or `inputs` that name a column twice or one that X has not.

    Notes
    -----
    Within a hidden layer the order is: product and bias, norm, activation, dropout, and then the
    layer's input if it is residual. `l1` and `l2` are about weights alone. AdamW's weight decay is
    about all but biases, norms, and the phases and biases of embeddings. See docs/layers.md for
    what each piece is good for.

    Examples
    --------
    >>> from fastmlp import MLP
    >>> net = MLP([784, 16, 16, 10], output="softmax", seed=0)
    >>> net.n_params
    13002
    """

    def _allocate(self):
        super()._allocate()
        self._pace = Pace([True, False])
        self._planned = None, None
        self._forget_evaluations()

    def _forget_evaluations(self):
        self._spare = SpareSweep(LARGEST_SPARE)

    def _read(self, architecture):
        if "sequence" in architecture and not hasattr(self, "_sequence"):
            raise ValueError("it is of a recurrent network: load it with RNN")
        super()._read(architecture)

    def _forward_plan(self, program):
        """The plan to predict by a program, kept for the next time."""
        planned, plan = self._planned
        if planned is not program:
            plan = plan_program(program, self.dtype)
            self._planned = program, plan
        return plan

    def predict(
        self, X: Features, *, out: Any = None, n_threads: int | None = None, members: bool = False
    ) -> np.ndarray:
        """Outputs of the network, after the output activation.

        Parameters
        ----------
        X : array_like, sparse matrix or `Rows`, (n, n_in)
            Finite numbers. Used in place if C-contiguous and of the network's dtype. `Rows`, such
            as a memory map or a dataset of h5py, are read block by block. Columns of a data frame
            are found by name, see `feature_names`.
        out : anything with slice assignment, or None, default None
            Where the outputs go, ``out[a:b] = outputs``, such as a memory map for more of them
            than memory has room for. If X turns out to have bad numbers, the outputs of the rows
            before may be there already. None is a new array.
        n_threads : int or None, default None
            At most so many threads, and only one where a team is not faster. None is as many
            as this process may use cores and the work is enough for.
        members : bool, default False
            Whether to return the outputs of each member, and not their mean.

        Returns
        -------
        ndarray, (n, n_out) or, of members, (n, members, n_out), of the network's dtype
            NaN or infinite where numbers of X are so large that sums overflow. It is `out`, if
            that is given.
        """
        return predict(self, self._pace, X, n_threads, members, out=out)

    def loss(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        n_threads: int | None = None,
    ) -> float:
        """The objective J(theta), see `fastmlp.Objective` for its definition and parameters."""
        value, _ = evaluate_once(
            self, codes.EVALUATE, X, y, loss, None, sample_weight, l1, l2, n_threads
        )
        return value

    def loss_and_grad(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        n_threads: int | None = None,
    ) -> tuple[float, np.ndarray]:
        """The objective and its gradient (n_params,), of the network's dtype.

        Parameters are those of `fastmlp.Objective`. The gradient is one backward pass over all
        rows, in chunks, so that memory does not grow with n. The network keeps a small workspace,
        so that the next call, for as many rows and the same loss, is sooner done.
        """
        return evaluate_once(
            self, codes.DIFFERENTIATE, X, y, loss, None, sample_weight, l1, l2, n_threads
        )

    fit = fitting.fit

    def predict_proba(self, X: Features, *, n_threads: int | None = None) -> np.ndarray:
        """Probabilities of classes, where the output is a probability.

        Parameters
        ----------
        X, n_threads
            As of `predict`.

        Returns
        -------
        ndarray, (n, n_classes), of the network's dtype
            Of a softmax its outputs. Of one sigmoid the probabilities of "no" and "yes". Of several
            each by itself the probability of a "yes", (n, n_out).

        Raises
        ------
        ValueError
            For any other output.

        Examples
        --------
        >>> from fastmlp import MLP
        >>> net = MLP([3, 8, 1], output="sigmoid", seed=0)
        >>> net.predict_proba([[0.0, 0.0, 0.0]])
        array([[0.5, 0.5]], dtype=float32)
        """
        return self._as_probabilities(lambda: self.predict(X, n_threads=n_threads))

    def _as_probabilities(self, predict):
        if self.output not in ("softmax", "sigmoid"):
            raise ValueError(
                "predict_proba needs an output that is a probability, softmax or sigmoid, got the "
                f"output {self.output!r}"
            )
        outputs = predict()
        if self.output == "sigmoid" and outputs.shape[-1] == 1:
            return np.concatenate([1 - outputs, outputs], axis=-1)
        return outputs

    def score(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> float:
        """How well it predicts, as estimators of scikit-learn say: accuracy, or for numbers R².

        Parameters
        ----------
        X, y, loss, sample_weight, n_threads
            As of `fastmlp.Objective`. The loss tells what y is: labels, for cross_entropy,
            binary_cross_entropy, logistic and hinge, else numbers.

        Returns
        -------
        float
            The share of outputs that are right; an output above one half, or of the losses of
            labels -1 and 1 above 0, is a "yes". Or R² = 1 - Σ (y - ŷ)² / Σ (y - ȳ)², 1 at best and
            0 of who always says the mean; of several outputs the mean of theirs.

        Examples
        --------
        >>> from fastmlp import MLP, datasets
        >>> X, y = datasets.load_digits()
        >>> net = MLP([64, 32, 10], output="softmax", seed=0)
        >>> result = net.fit(X[:1500], y[:1500], seed=0)
        >>> net.score(X[1500:], y[1500:]) > 0.8
        True
        """
        # Here, because who only trains and predicts need not load it.
        from fastmlp.scoring import score_as_estimators

        return score_as_estimators(
            self, X, y, loss=loss, sample_weight=sample_weight, n_threads=n_threads
        )

    def save(self, path: str | PathLike[str]) -> None:
        """Write the network to a safetensors file: tensors by layer, the rest as JSON.

        The file is written beside its place and moved there, so that a crash leaves an old one
        whole. A symbolic link stays: the file that it names is written. So is what cannot be
        replaced, such as a pipe.

        Raises
        ------
        TypeError
            If `path` is no path.
        OSError
            If it cannot be written: it is a folder, read-only, or in no folder to write to.
        """
        files.save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Self:
        """Read a network that `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If the file is truncated, no safetensors file, not one of fastmlp's, or holds
            parameters that are not finite.
        """
        return files.load(path, cls)

    def to_onnx(self, path) -> None:
        """Write what `predict` does to a file of ONNX, which other runtimes run.

        The input "X" is (n, n_in), or (n, steps, n_in) of a `fastmlp.RNN`, and the output
        "outputs" is (n, n_out), both of the network's dtype, for any n. Of members it is the mean.
        Names of features are in the metadata. Operators are those of 2022 (opset 18). See
        docs/exporting.md.

        Parameters
        ----------
        path : str or os.PathLike
            Written as by `save`.

        Raises
        ------
        ImportError
            Without the package onnx, of the extra `onnx`.
        TypeError, OSError
            As of `save`.
        """
        from fastmlp.export.to_onnx import write_onnx

        write_onnx(self, path)

    def to_c(self, path) -> None:
        """Write what `predict` does to a file of C99 that needs ``<math.h>`` alone.

        It has one function, ``void NAME_predict(const float *x, float *y)``, with the name of the
        file without its ending: x is a row of n_in numbers, y the n_out outputs. They are double
        for a float64 network. Of a `fastmlp.RNN` it is ``NAME_predict(x, n_steps, y)``, and x
        is one step after the other. Parameters are constants, written so that they are read back
        with the same bits, and all else is on the stack.

        Parameters
        ----------
        path : str or os.PathLike
            Written as by `save`.

        Raises
        ------
        ValueError
            If no function can be called as the file is.
        TypeError, OSError
            As of `save`.
        """
        from fastmlp.export.to_c import write_c

        write_c(self, path)

    def to_torch(self):
        """Make a module of PyTorch with the same outputs, gradients and dtype.

        It is an `nn.Sequential` of PyTorch's own layers where a network is such a chain, else a
        module of several; those of a `fastmlp.RNN` take (n, steps, n_in). Tied layers share one
        parameter. It comes in evaluation mode, which has the outputs of `predict`: ``.train()``
        turns on dropout, of a schedule with the probability that it begins with, and batch norm.
        With members its call takes ``members=True``, as `predict` does.

        Returns
        -------
        torch.nn.Module
            With copies of the parameters.

        Raises
        ------
        ImportError
            Without PyTorch.
        """
        check_installed("to_torch", "torch")
        from fastmlp.export.to_torch import torch_module

        return torch_module(self)

    @classmethod
    def from_torch(cls, module) -> Self:
        """Make a network of an `nn.Sequential` of PyTorch, with the same outputs.

        Parameters
        ----------
        module : torch.nn.Sequential
            Of float32 or float64. Layers are an `nn.Linear` each, then, if there are, a
            `LayerNorm` or `BatchNorm1d`, an activation, and a `Dropout`; the last one has neither
            norm nor dropout. Before the first there may be a `Dropout`. Sequentials within it are
            taken one module after the other. Linears of one weight become tied layers.

        Returns
        -------
        MLP
            Its output is what the last Linear is followed by: append an `nn.Softmax(dim=1)` to
            logits, to go on with cross-entropy.

        Raises
        ------
        ImportError
            Without PyTorch.
        TypeError
            If it is no Sequential.
        ValueError
            For a module that has no counterpart, which the message names.
        """
        check_installed("from_torch", "torch")
        from fastmlp.export.from_torch import network_from

        return network_from(cls, module)


# Where pickles look for it that were made when it was defined there.
vars(network)["MLP"] = MLP
