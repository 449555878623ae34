"""RNN: Elman's network, which reads sequences step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fastmlp.building_recurrent import build_recurrent
from fastmlp.kernels import codes
from fastmlp.mlp import MLP
from fastmlp.objective import evaluate_once
from fastmlp.options import Loss
from fastmlp.prediction import predict
from fastmlp.program import Sequences, has_parameters
from fastmlp.sequences import as_sequences, check_sequences, is_beyond
from fastmlp.validation import check_count, check_finite, check_known

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike

    from fastmlp.options import Features, Seed

# Which steps of a sequence have an output.
SEQUENCES = ("last", "all")


class RNN(MLP):
    """A recurrent network of Elman's kind, with all its parameters in one vector.

    A hidden layer sees its input x_t and what it gave itself one step of time before:

    h_t = f(x_t W + h_{t-1} U + b) with h_0 = 0.

    Several hidden layers stack: the next one's x_t is this one's h_t. A dense output layer takes
    h_t of the last of them (Elman, "Finding structure in time", Cognitive Science 14, 1990). The
    gradient of a weight is the sum of those at all steps: backpropagation through time.

    Parameters
    ----------
    layer_sizes : sequence of int
        Inputs of a step, units of each hidden layer, of which there is at least one, outputs:
        ``[28, 64, 10]``.
    activation : str or sequence of str, default "tanh"
        Of all hidden layers, or one for each, as of `fastmlp.MLP`.
    output : str, default "identity"
        Of the output layer, as of `fastmlp.MLP`.
    sequence : {"last", "all"}, default "last"
        Whether the network has outputs, and y has targets, for the last step of a sequence or for
        each. Of the latter, a row's loss is the mean over its steps.
    truncate : int or None, default None
        Cut sequences into windows of so many steps, and do not propagate deltas from a window to
        the one before: truncated backpropagation through time (Williams & Peng, Neural Computation
        2, 1990). What h_t is stays the same. The gradient is then not that of the objective. None
        propagates all the way.
    dtype, init, seed
        As of `fastmlp.MLP`, but ``init="data"`` is not for recurrent networks. U starts as an
        orthogonal matrix with "auto", so that signals neither grow nor vanish over many steps; with
        any other `init` it is drawn as a layer's weights are.

    Attributes
    ----------
    theta : ndarray, (n_params,)
        All parameters: for each hidden layer W, U and b, row by row, then those of the output
        layer.
    weights : tuple of ndarray, (n_in, n_out) each
        Views of theta: W of each layer, the output layer's last.
    recurrent : tuple of ndarray, (n_out, n_out) each
        Views of theta: U of each hidden layer.
    biases : tuple of ndarray, (n_out,) each
        Views of theta.
    parameters : tuple of (str, ndarray)
        Names and views of all that theta holds, in its order: "weights[0]", "recurrent[0]" (U),
        "biases[0]", "weights[1]" and so on.

    Raises
    ------
    ValueError, TypeError
        For arguments that are not as above.

    Notes
    -----
    X is (n, T, n_in), and T may be another in each call. Where `lengths` (n,) are given, row i is
    its first ``lengths[i]`` steps: nothing that comes after them is looked at, in X or in y. y is
    that of `fastmlp.Objective` for "last", and for "all" (n, T) class indices or (n, T, n_out);
    with one output (n, T) stands for (n, T, 1).

    `lengths` go to `predict`, `loss`, `loss_and_grad`, `fit`, `fastmlp.Objective` and
    `fastmlp.check_gradient`; those of validation data are a fourth entry,
    ``validation_data=(X, y, sample_weight, lengths)``.

    Examples
    --------
    >>> from fastmlp import RNN
    >>> net = RNN([28, 64, 10], output="softmax", seed=0)
    >>> net.n_params
    6602
    """

    def __init__(
        self,
        layer_sizes: Sequence[int],
        *,
        activation: str | Sequence[str] = "tanh",
        output: str = "identity",
        sequence: str = "last",
        truncate: int | None = None,
        dtype: DTypeLike = "float32",
        init: str = "auto",
        seed: Seed = None,
    ) -> None:
        self._keep_own(sequence, truncate)
        if init == "data":
            raise ValueError("init must be another name for a recurrent network, got 'data'")
        super().__init__(
            layer_sizes, activation=activation, output=output, dtype=dtype, init=init, seed=seed
        )

    def _keep_own(self, sequence, truncate):
        """Check and keep what other networks do not have."""
        check_known("sequence", sequence, SEQUENCES)
        if truncate is not None:
            check_count("truncate", truncate)
        self._sequence, self._truncate = sequence, None if truncate is None else int(truncate)

    def _describe(self):
        if len(self._layer_sizes) < 3:
            raise ValueError(
                "layer_sizes must name at least one hidden layer, which is what recurs, got "
                f"{list(self._layer_sizes)}"
            )
        for name in self._activations:
            if has_parameters(name):
                raise ValueError(
                    "activation must be one without trainable numbers for a recurrent network, "
                    f"got {name!r}"
                )
        return self._program_for(Sequences(1, False, True))

    def _program_for(self, sequences):
        return build_recurrent(self._architecture(), self._truncate, sequences)

    def _as_rows(self, X, lengths):
        by_step = self._sequence == "all"
        return as_sequences(X, lengths, self._dtype, self._layer_sizes[0], by_step)

    def _as_inputs(self, X):
        X = check_sequences(X, self._dtype, self._layer_sizes[0])
        check_finite("X", X)
        return X

    def check_rows(self, X, first=None):
        """Refuse rows of X, step after step, with numbers that are not finite.

        They are all of X: sequences are never read in windows.
        """
        n_rows, n_inputs = len(X), self._layer_sizes[0]
        n_steps = X.shape[1] // n_inputs
        check_finite("X", X[:, : n_steps * n_inputs].reshape(n_rows, n_steps, n_inputs))

    @property
    def sequence(self) -> str:
        """Which steps have outputs, "last" or "all"."""
        return self._sequence

    @property
    def truncate(self) -> int | None:
        """Steps of a window of backpropagation through time, None if there are no windows."""
        return self._truncate

    @property
    def recurrent(self) -> tuple[np.ndarray, ...]:
        """Views of theta: the weights from each hidden layer to itself, (n_out, n_out)."""
        return tuple(view for name, view in self.parameters if name.startswith("recurrent"))

    @property
    def feature_names(self) -> None:
        """None: the inputs of a recurrent network have no names, as X is no table."""
        return None

    @feature_names.setter
    def feature_names(self, names):
        if names is not None:
            raise ValueError(
                f"feature_names must be None for a recurrent network, whose X is no table, got "
                f"{names!r}"
            )

    @classmethod
    def from_torch(cls, module):
        """Raise a TypeError: an `nn.Sequential` is an `MLP`."""
        raise TypeError("module must be taken by MLP.from_torch: no Sequential is recurrent")

    def architecture(self) -> dict:
        """What the network was built from, without the parameters: plain values, fit for JSON."""
        own = {"sequence": self._sequence, "truncate": self._truncate}
        return {**super().architecture(), **own}

    def _read(self, architecture):
        if "sequence" not in architecture:
            raise ValueError("it is of a network whose rows are no sequences: load it with MLP")
        self._keep_own(architecture["sequence"], architecture["truncate"])
        super()._read(architecture)

    def predict(  # type: ignore[override]  # there are no members
        self, X: Features, *, lengths: ArrayLike | None = None, n_threads: int | None = None
    ) -> np.ndarray:
        """Outputs of the network, after the output activation.

        Parameters
        ----------
        X : array_like, (n, T, n_in)
            Finite numbers. Used in place if C-contiguous and of the network's dtype, and without
            lengths.
        lengths : array_like of int, (n,), or None
            How many steps each row has, from 1 to T; None is T.
        n_threads : int or None, default None
            As of `fastmlp.MLP.predict`.

        Returns
        -------
        ndarray, (n, n_out) or, with sequence="all", (n, T, n_out), of the network's dtype
            0 for steps beyond a row's length.
        """
        outputs = predict(self, self._pace, X, n_threads, lengths=lengths)
        if self._sequence == "last":
            return outputs
        by_step = outputs.reshape(len(outputs), -1, self._layer_sizes[-1])
        if lengths is not None:
            by_step[is_beyond(np.asarray(lengths), by_step.shape[1])] = 0
        return by_step

    def predict_proba(
        self,
        X: Features,
        *,
        lengths: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> np.ndarray:
        """Probabilities of classes, as of `fastmlp.MLP.predict_proba`; of steps (n, T, n_classes).

        Parameters
        ----------
        X, lengths, n_threads
            As of `predict`.
        """
        return self._as_probabilities(lambda: self.predict(X, lengths=lengths, n_threads=n_threads))

    def score(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        n_threads: int | None = None,
    ) -> float:
        """How well it predicts, as of `fastmlp.MLP.score`.

        Parameters
        ----------
        X, y, loss, lengths, sample_weight, n_threads
            As of `fastmlp.Objective`.
        """
        from fastmlp.scoring import score_as_estimators

        settings = {"sample_weight": sample_weight, "n_threads": n_threads}
        return score_as_estimators(self, X, y, loss=loss, lengths=lengths, **settings)

    def loss(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        n_threads: int | None = None,
    ) -> float:
        """The objective J(theta), see `fastmlp.Objective` for its definition and parameters."""
        settings = loss, lengths, sample_weight, l1, l2, n_threads
        return evaluate_once(self, codes.EVALUATE, X, y, *settings)[0]

    def loss_and_grad(
        self,
        X: Features,
        y: ArrayLike,
        *,
        loss: Loss = "auto",
        lengths: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        n_threads: int | None = None,
    ) -> tuple[float, np.ndarray]:
        """The objective and its gradient (n_params,), as of `fastmlp.MLP.loss_and_grad`."""
        settings = loss, lengths, sample_weight, l1, l2, n_threads
        return evaluate_once(self, codes.DIFFERENTIATE, X, y, *settings)
