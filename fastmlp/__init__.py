"""Train multilayer perceptrons on the CPU with hand-written Numba kernels."""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

# In a source tree the kernels' folder is beside this one; installed, it is within. With this,
# Python finds it also when it is started in the source tree, whose fastmlp/ then comes first.
_folder = Path(__file__).parent
if not (_folder / "kernels").is_dir():
    __path__.append(str(_folder.parent))

from fastmlp.callbacks import EarlyStopping, Metrics, ModelCheckpoint
from fastmlp.compare import compare, compare_problems
from fastmlp.fitting import fit, fit_many
from fastmlp.inputs import Categorical, Numeric, quantile_edges
from fastmlp.mlp import MLP
from fastmlp.monitor import Progress
from fastmlp.objective import Objective
from fastmlp.optimizers import SGD, AdaGrad, Adam, AdamW, NAdam, RMSProp
from fastmlp.result import FitResult, Record, Status, Trace
from fastmlp.rnn import RNN
from fastmlp.schedules import (
    CosineAnnealing,
    CosineLog,
    ExponentialDecay,
    FlatCosine,
    InverseTime,
    LinearDecay,
    Schedule,
    StepDecay,
    WarmUp,
)
from fastmlp.sources.rows import Rows
from fastmlp.sources.windowed import Windowed
from fastmlp.version import __version__ as __version__

if TYPE_CHECKING:
    from fastmlp import datasets
    from fastmlp.comparison import Budget, Comparison, Run
    from fastmlp.gradcheck import GradientCheck, check_gradient
    from fastmlp.least_squares import LeastSquares
    from fastmlp.parts import fit_parts
    from fastmlp.problems import FunctionProblem, NetworkProblem, load_problem
    from fastmlp.profiles import Comparisons, Profile, performance_profile
    from fastmlp.sklearn import MLPClassifier as MLPClassifier
    from fastmlp.sklearn import MLPRegressor as MLPRegressor
    from fastmlp.sklearn import TabularClassifier as TabularClassifier
    from fastmlp.sklearn import TabularRegressor as TabularRegressor
    from fastmlp.solvers import (
        BFGS,
        DFP,
        LBFGS,
        OWLQN,
        SPSA,
        SR1,
        Broyden,
        ConjugateGradient,
        GaussianProcessNewton,
        GradientDescent,
        KieferWolfowitz,
        LeastSquaresNewton,
        LevenbergMarquardt,
        NoiseTolerantBFGS,
        Scipy,
        StochasticLBFGS,
    )
    from fastmlp.sources.csv_file import open_csv
    from fastmlp.sources.parquet_file import open_parquet
    from fastmlp.training import minimize
    from fastmlp.warming import warmup

__all__ = [
    "BFGS",
    "DFP",
    "LBFGS",
    "MLP",
    "OWLQN",
    "RNN",
    "SGD",
    "SPSA",
    "SR1",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Broyden",
    "Budget",
    "Categorical",
    "Comparison",
    "Comparisons",
    "ConjugateGradient",
    "CosineAnnealing",
    "CosineLog",
    "EarlyStopping",
    "ExponentialDecay",
    "FitResult",
    "FlatCosine",
    "FunctionProblem",
    "GaussianProcessNewton",
    "GradientCheck",
    "GradientDescent",
    "InverseTime",
    "KieferWolfowitz",
    "LeastSquares",
    "LeastSquaresNewton",
    "LevenbergMarquardt",
    "LinearDecay",
    "Metrics",
    "ModelCheckpoint",
    "NAdam",
    "NetworkProblem",
    "NoiseTolerantBFGS",
    "Numeric",
    "Objective",
    "Profile",
    "Progress",
    "RMSProp",
    "Record",
    "Rows",
    "Run",
    "Schedule",
    "Scipy",
    "Status",
    "StepDecay",
    "StochasticLBFGS",
    "Trace",
    "WarmUp",
    "Windowed",
    "check_gradient",
    "compare",
    "compare_problems",
    "datasets",
    "fit",
    "fit_many",
    "fit_parts",
    "load_problem",
    "minimize",
    "open_csv",
    "open_parquet",
    "performance_profile",
    "quantile_edges",
    "warmup",
]

# Modules that are loaded when they, or a name of theirs, are first asked for: who builds a network
# and predicts does without them.
_LATER = {
    "checkpoint": (),
    "comparison": ("Budget", "Comparison", "Run"),
    "dask": (),
    "datasets": (),
    "files": (),
    "functions": (),
    "gradcheck": ("GradientCheck", "check_gradient"),
    "least_squares": ("LeastSquares",),
    "parts": ("fit_parts",),
    "problems": ("FunctionProblem", "NetworkProblem", "load_problem"),
    "profiles": ("Comparisons", "Profile", "performance_profile"),
    "report": (),
    "running": (),
    "sources.csv_file": ("open_csv",),
    "sources.parquet_file": ("open_parquet",),
    "solvers": (
        "BFGS",
        "DFP",
        "LBFGS",
        "OWLQN",
        "SPSA",
        "SR1",
        "Broyden",
        "ConjugateGradient",
        "GaussianProcessNewton",
        "GradientDescent",
        "KieferWolfowitz",
        "LeastSquaresNewton",
        "LevenbergMarquardt",
        "NoiseTolerantBFGS",
        "Scipy",
        "StochasticLBFGS",
    ),
    "training": ("minimize",),
    "warming": ("warmup",),
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}
# scikit-learn takes longer to import than all of this.
_ESTIMATORS = ("MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor")
_MODULE_OF |= dict.fromkeys(_ESTIMATORS, "sklearn")


if not TYPE_CHECKING:  # or type checkers would take it that there is any name

    def __getattr__(name):
        module = name if name in _LATER else _MODULE_OF.get(name)
        if module is None:
            raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
        found = import_module(f"fastmlp.{module}")
        if name != module:
            found = globals()[name] = getattr(found, name)
        return found


def __dir__():
    # Names that can be had: without scikit-learn, asking for its estimators raises ImportError.
    estimators = _ESTIMATORS if find_spec("sklearn") else ()
    return sorted({*__all__, "__version__", *estimators})
