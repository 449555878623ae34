"""Networks as models of other tools: one description of them, `graph`, and a writer for each."""

from importlib.util import find_spec

# How to install what an export needs.
_INSTALLED_BY = {"onnx": "pip install 'fastmlp[onnx]'", "torch": "pip install torch"}


def check_installed(method, package):
    """Refuse to go on without a package; `method` is what the user has called."""
    if find_spec(package) is None:
        raise ImportError(
            f"{method} needs the package {package}, which is not installed: "
            f"{_INSTALLED_BY[package]}"
        )
