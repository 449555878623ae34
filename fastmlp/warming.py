"""warmup: have the usual kernels compiled before anyone waits for them."""

from pathlib import Path

import numpy as np

from fastmlp.kernels import codes, empty_columns
from fastmlp.kernels._jit import cache_directory, prebuilt
from fastmlp.kernels.activations import rare_addresses
from fastmlp.kernels.epochs import exact_epochs
from fastmlp.kernels.losses import rare_address
from fastmlp.kernels.minimization import minimize_part_address
from fastmlp.kernels.threads import available_cores
from fastmlp.kernels.updates import UPDATES, update_address
from fastmlp.mlp import MLP
from fastmlp.result import Status
from fastmlp.solvers import LBFGS
from fastmlp.training import minimize
from fastmlp.workspace import FEWEST_GROUPED_ROWS


def warmup(dtypes=("float32",)) -> Path | None:
    """Compile the usual kernels, or load them from the cache, so that what follows starts at once.

    For the build of a container image, or the start of a service. After it `fit`, `predict`,
    `loss` and `loss_and_grad` compile nothing, whatever the objective, the optimizer and the
    network, if that is a chain of layers: pieces such as norm are compiled where they are used
    first. An empty cache costs some seconds for each dtype, a full one fractions of one.

    Parameters
    ----------
    dtypes : sequence of {"float32", "float64"}, default ("float32",)
        Those of the networks to come; each has its kernels. The default is that of `MLP`.

    Returns
    -------
    Path or None
        The folder that has the kernels for later processes; one within the package if they all came
        with it, compiled. None if none are there, as it cannot be made, written or trusted: then
        this process alone is ready.

    Raises
    ------
    ValueError, TypeError
        For other dtypes, before anything is compiled.

    Notes
    -----
    The folder is named by ``FASTMLP_CACHE_DIR``, or else by ``NUMBA_CACHE_DIR``, or is in the
    user's cache folder, or, where there can be none, in the system's temporary one. A folder that
    is not named is used only if no other user could write it, and made so. Its kernels are for this
    build of fastmlp, these versions of Python, NumPy and Numba, and this model of CPU: another has
    them compiled anew. A wheel that was built with machine code has the usual kernels with it.

    Kernels for teams of threads are compiled where more than one core is available, and only
    while no other thread trains with a team.

    Examples
    --------
    >>> import fastmlp
    >>> folder = fastmlp.warmup()
    >>> folder.name.startswith("kernels-")
    True
    """
    if isinstance(dtypes, str) or not hasattr(dtypes, "__iter__"):
        raise TypeError(f"dtypes must be a sequence such as ('float32',), got {dtypes!r}")
    nets = [MLP([1, 1], dtype=dtype) for dtype in dtypes]
    # So many rows are no small work, one is.
    X, y = np.zeros((FEWEST_GROUPED_ROWS, 1)), np.zeros(FEWEST_GROUPED_ROWS)
    for net in nets:
        # Whatever the network, the loss, the optimizer and the data: what is called by address.
        rare_addresses((codes.GELU,), net.dtype)
        rare_addresses((codes.SOFTMAX,), net.dtype)
        rare_address(codes.HUBER, (1.0,), net.dtype)
        empty_columns.addresses(net.dtype)
        minimize_part_address(net.dtype)
        exact_epochs(net.dtype)
        for code in UPDATES:
            update_address(code, net.dtype)
        for n_threads in (1, 2)[: available_cores()]:
            for batch_size in (1, None):
                result = net.fit(
                    X, y, epochs=1, batch_size=batch_size, l2=1e-4, n_threads=n_threads
                )
                if result.status is Status.INTERRUPTED:
                    raise KeyboardInterrupt
            net.predict(X, n_threads=n_threads)
            net.loss(X, y, n_threads=n_threads)
            net.loss_and_grad(X, y, n_threads=n_threads)
    # Solvers' own kernels are for float64 whatever the network.
    for optimizer in ("bfgs", "lbfgs", LBFGS(bounds=(1.0, 2.0))):
        result = minimize(
            lambda x: (float(np.sum(x**4)), 4 * x**3), [1.0, 2.0], optimizer=optimizer
        )
        if result.status is Status.INTERRUPTED:
            raise KeyboardInterrupt
    folder = cache_directory()
    is_kept = folder is not None and any(folder.glob("*.nbc"))
    return folder if is_kept else prebuilt.directory()
