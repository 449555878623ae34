"""What a new process costs: imports, the first fit and the first prediction.

These from a warm and from an empty cache.
"""

FIRST_FIT = """
import fastmlp
X, y = fastmlp.datasets.load_digits()
net = fastmlp.MLP([64, 64, 32, 10], output="softmax", seed=0)
net.fit(X, y, epochs=1, seed=0)
"""

FIRST_PREDICTION = """
import fastmlp
X, y = fastmlp.datasets.load_digits()
net = fastmlp.MLP([64, 64, 32, 10], output="softmax", seed=0)
net.predict(X[:1])
"""

EMPTY_CACHE = """
import os, tempfile
os.environ["FASTMLP_CACHE_DIR"] = tempfile.mkdtemp()
"""


class Imports:
    """Importing fastmlp beside importing numba."""

    def timeraw_import_numba(self):
        return "import numba"

    def timeraw_import_fastmlp(self):
        return "import fastmlp"


class FirstFit:
    """From the start of the process to the end of one epoch on the digits."""

    timeout = 120

    def timeraw_warm_cache(self):
        return FIRST_FIT

    def timeraw_empty_cache(self):
        return EMPTY_CACHE + FIRST_FIT

    timeraw_empty_cache.number = 1
    timeraw_empty_cache.repeat = 1


class FirstPredict:
    """From the start of the process to the outputs for one of the digits."""

    timeout = 120

    def timeraw_warm_cache(self):
        return FIRST_PREDICTION

    def timeraw_empty_cache(self):
        return EMPTY_CACHE + FIRST_PREDICTION

    timeraw_empty_cache.number = 1
    timeraw_empty_cache.repeat = 1
