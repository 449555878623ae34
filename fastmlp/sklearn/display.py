"""How the training of an estimator went, as a figure."""

import textwrap

import numpy as np

from fastmlp import plotting

# What the horizontal axis can be, and how it is called.
_AXES = {"epochs": "epochs", "seconds": "seconds of training"}

# Characters of a line beside an axis.
_LONGEST_TITLE = 32


class TrainingCurveDisplay:
    """Training loss, validation loss and score over the epochs or seconds of a fit.

    To be made by `from_estimator`; all parameters are attributes. (scikit-learn's
    ``LearningCurveDisplay`` shows scores over the number of training samples instead.)

    Parameters
    ----------
    epochs, seconds : array_like (n,)
        Epochs done, or iterations of a solver, and time spent on them.
    training_loss : array_like (n,)
        The objective, penalties included.
    validation_loss : array_like (n,) or None, default None
    scores : array_like (m,) or None, default None
        On the validation data after each of the last m <= n epochs.
    score_name : str, default "score"

    Attributes
    ----------
    ax_ : matplotlib.axes.Axes
        With the losses; its vertical axis is logarithmic unless a loss is negative.
    score_ax_ : matplotlib.axes.Axes or None
        With the scores, on the right of the same panel; None without scores.
    figure_ : matplotlib.figure.Figure
    lines_ : list of matplotlib.lines.Line2D

    Raises
    ------
    ValueError
        If the lengths do not agree.

    Examples
    --------
    >>> from fastmlp import MLPClassifier, datasets
    >>> from fastmlp.sklearn import TrainingCurveDisplay
    >>> X, y = datasets.load_digits()
    >>> model = MLPClassifier(early_stopping=True, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(model, x="seconds")
    """

    def __init__(
        self,
        *,
        epochs,
        seconds,
        training_loss,
        validation_loss=None,
        scores=None,
        score_name="score",
    ):
        self.epochs = epochs
        self.seconds = seconds
        self.training_loss = training_loss
        self.validation_loss = validation_loss
        self.scores = scores
        self.score_name = score_name
        for name in ("seconds", "training_loss", "validation_loss"):
            column = getattr(self, name)
            if column is not None and len(column) != len(epochs):
                raise ValueError(
                    f"{name} must have as many values as epochs, {len(epochs)}, got {len(column)}"
                )
        if scores is not None and len(scores) > len(epochs):
            raise ValueError(
                f"scores must have at most as many values as epochs, {len(epochs)}, "
                f"got {len(scores)}"
            )

    @classmethod
    def from_estimator(cls, estimator, ax=None, *, x="epochs"):
        """Draw how the training of a fitted estimator went.

        Parameters
        ----------
        estimator : MLPClassifier or MLPRegressor
            Of this package, fitted.
        ax : matplotlib.axes.Axes or None, default None
            Where to draw; by default on a new figure.
        x : {"epochs", "seconds"}, default "epochs"
            What the horizontal axis is; seconds tell more where estimators are compared.

        Returns
        -------
        TrainingCurveDisplay

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        ValueError
            If `x` is none of these.
        ImportError
            Without matplotlib.
        """
        from sklearn.utils.validation import check_is_fitted

        _check_axis(x)
        check_is_fitted(estimator, "trace_")
        trace = estimator.trace_
        validation_loss = trace["validation_loss"]
        display = cls(
            epochs=trace["epoch"],
            seconds=trace["seconds"],
            training_loss=trace["objective"],
            validation_loss=None if np.isnan(validation_loss).all() else validation_loss,
            scores=estimator.validation_scores_,
            score_name=_name_of_score(estimator),
        )
        return display.plot(ax, x=x)

    @np.errstate(all="ignore")
    def plot(self, ax=None, *, x="epochs"):
        """Draw the curves.

        Parameters
        ----------
        ax, x
            As of `from_estimator`.

        Returns
        -------
        TrainingCurveDisplay
            Itself.

        Raises
        ------
        ValueError
            If `x` is none of "epochs" and "seconds".
        ImportError
            Without matplotlib.
        """
        _check_axis(x)
        if ax is None:
            ax = _new_axes()
        xs = np.asarray(getattr(self, x), float)
        losses = {"training loss": self.training_loss, "validation loss": self.validation_loss}
        losses = {
            label: np.asarray(column, float)
            for label, column in losses.items()
            if column is not None
        }
        n = len(losses) + (self.scores is not None)
        self.lines_ = plotting.draw_losses(ax, xs, losses, n)
        ax.set_xlabel(_AXES[x])
        if x == "epochs":
            ax.xaxis.get_major_locator().set_params(integer=True)
        self.score_ax_ = None if self.scores is None else self._plot_scores(ax, xs, n)
        self.ax_, self.figure_ = ax, ax.figure
        plotting.add_legend_above(ax, self.lines_)
        return self

    def _plot_scores(self, ax, xs, n):
        """Draw the scores on an axis of their own, on the right."""
        scores, name = np.asarray(self.scores, float), f"validation {self.score_name}"
        # The name of a scorer may be longer than the axis.
        title = textwrap.fill(name, _LONGEST_TITLE)
        xs = xs[len(xs) - len(scores) :]
        right, line = plotting.draw_on_the_right(ax, xs, scores, name, title, n)
        self.lines_.append(line)
        return right


def _check_axis(x):
    if x not in _AXES:
        raise ValueError(f"x must be {' or '.join(map(repr, _AXES))}, got {x!r}")


def _new_axes():
    """Axes of a new figure of pyplot, which notebooks show by themselves."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'fastmlp[plot]'") from None
    return plt.subplots(figsize=(6.4, 4.2), layout="constrained")[1]


def _name_of_score(estimator):
    from sklearn.base import is_classifier

    scoring = estimator.scoring
    if scoring is None:
        return "accuracy" if is_classifier(estimator) else "R²"
    return scoring.replace("_", " ") if isinstance(scoring, str) else "score"
