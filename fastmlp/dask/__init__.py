"""Networks fitted to Dask arrays and data frames, on a cluster; the extra `dask`."""

from importlib.util import find_spec
from typing import TYPE_CHECKING

if find_spec("dask") is None or find_spec("distributed") is None:
    raise ImportError("fastmlp.dask needs Dask: pip install 'fastmlp[dask]'")

from fastmlp.dask.fitting import fit, predict

if TYPE_CHECKING:
    from fastmlp.dask.estimators import MLPClassifier as MLPClassifier
    from fastmlp.dask.estimators import MLPRegressor as MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor", "fit", "predict"]


def __getattr__(name):
    # scikit-learn's, which networks do without.
    if name not in __all__:
        raise AttributeError(f"module 'fastmlp.dask' has no attribute {name!r}")
    from fastmlp.dask import estimators

    return getattr(estimators, name)


def __dir__():
    return __all__
