"""The handwritten digits that are shipped with the package."""

from importlib import resources

import numpy as np
from numpy.typing import DTypeLike

from fastmlp.datasets.csv_table import load_csv


def load_digits(dtype: DTypeLike = "float32") -> tuple[np.ndarray, np.ndarray]:
    """Load 1797 images of handwritten digits, 8 x 8 pixels each.

    It is the test set of "Optical Recognition of Handwritten Digits" of the UCI Machine Learning
    Repository, shipped with the package: nothing is downloaded.

    Parameters
    ----------
    dtype : {"float32", "float64"}, default "float32"
        Type of `X`.

    Returns
    -------
    X : ndarray of shape (1797, 64)
        Pixels, row by row. The data set counts the ink of each pixel from 0 to 16; here it is
        divided by 16, which is exact in either type, so that values lie in [0, 1].
    y : ndarray of shape (1797,), int64
        The digit shown, 0 to 9.

    Raises
    ------
    ValueError
        If `dtype` is neither float32 nor float64.

    References
    ----------
    E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. UCI Machine
    Learning Repository. https://doi.org/10.24432/C50P49. Licensed under CC BY 4.0; see
    digits.txt beside this module.

    Examples
    --------
    >>> import fastmlp
    >>> X, y = fastmlp.datasets.load_digits()
    >>> X.shape, y.shape
    ((1797, 64), (1797,))
    """
    with resources.as_file(resources.files(__package__) / "digits.csv.gz") as path:
        X, y, _ = load_csv(path, "digit", dtype=dtype)
    X /= 16
    return X, y
