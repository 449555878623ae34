"""Figures of the estimators for tables."""

import numpy as np

from fastmlp.plotting import new_figure, tidy


def plot_ensemble(estimator):
    """See `BaseTabular.plot`."""
    reliability = getattr(estimator, "_reliability", None)
    n_panels = 1 if reliability is None else 2
    figure = new_figure(5.6 * n_panels, 4.2)
    panels = figure.subplots(1, n_panels, squeeze=False)[0]
    _plot_curves(panels[0], estimator)
    if reliability is not None:
        _plot_reliability(panels[1], reliability, estimator.temperature_)
    return figure


def _plot_curves(panel, estimator):
    for i, one in enumerate(estimator.history_):
        scores = np.array(one["scores"], float)
        epochs = np.arange(1, len(scores) + 1)
        (line,) = panel.plot(epochs, scores, linewidth=0.9, color=f"C{i % 10}")
        if one["best_epoch"]:
            best = one["best_epoch"] - 1
            panel.plot(epochs[best], scores[best], "o", markersize=4, color=line.get_color())
    panel.set_xlabel("epochs")
    panel.set_ylabel(f"{estimator.scoring_.replace('_', ' ')} of validation rows")
    panel.xaxis.get_major_locator().set_params(integer=True)
    tidy(panel)


def _plot_reliability(panel, reliability, temperature):
    panel.plot([0, 1], [0, 1], color="0.7", linewidth=0.9)
    styles = {
        "before": ("--", "0.5", "as trained"),
        "after": ("-", "#0072B2", f"temperature {temperature:.2f}"),
    }
    for name, (stroke, colour, label) in styles.items():
        bins = reliability[name]
        panel.plot(
            bins["confidence"],
            bins["accuracy"],
            stroke,
            color=colour,
            marker="o",
            markersize=4,
            label=label,
        )
    lowest = min([*reliability["before"]["confidence"], *reliability["after"]["confidence"]])
    panel.set_xlim(max(0, lowest - 0.05), 1.02)
    panel.set_xlabel("largest probability, out of fold")
    panel.set_ylabel("share of rows that are right")
    panel.legend(frameon=False)
    tidy(panel)
