"""MNIST's digits, where their files are: in the folder ``FASTMLP_MNIST``, or beside the project."""

import os
from pathlib import Path

import numpy as np

from fastmlp.datasets import load_idx

FOLDER = Path(
    os.environ.get("FASTMLP_MNIST") or Path(__file__).parents[3] / "shared" / "data" / "mnist"
)


def reason_to_skip():
    """None, or why there are none."""
    return None if FOLDER.is_dir() else "its files are not here: set FASTMLP_MNIST to their folder"


def load(part):
    """X (n, 784) float32, pixels from 0 to 1, and y (n,) of the part "train" or "t10k"."""
    images = load_idx(FOLDER / f"{part}-images-idx3-ubyte.gz")
    X = images.reshape(len(images), -1).astype(np.float32) / 255
    return X, load_idx(FOLDER / f"{part}-labels-idx1-ubyte.gz")
