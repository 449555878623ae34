"""Figures, by matplotlib's object interface: no window opens and no global state changes."""

# Okabe & Ito, "Color universal design" (2008): told apart with any kind of colour vision. Its
# yellow is left out, being too pale for a line on white.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9")
_LINES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPXh"

# Markers on one line; more would merge into a band.
_MARKERS_PER_LINE = 7

_NAMES_IN_A_ROW = 5

# Where one optimizer took so many times longer than another, seconds are drawn logarithmically,
# lest all that the fast one did becomes a vertical stroke.
_LOGARITHMIC_FROM = 4


def plot_traces(traces):
    """Draw the objective of several traces against seconds and against data passes.

    Parameters
    ----------
    traces : dict of str to Trace

    Returns
    -------
    matplotlib.figure.Figure
        Its vertical axis is logarithmic, unless an objective is 0 or negative; that of seconds
        is if the optimizers differ much in them.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'fastmlp[plot]'") from None

    figure = Figure(figsize=(9.6, 4.2), dpi=150, layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for panel, column, label in zip(
        panels, ("seconds", "data_passes"), ("seconds", "data passes"), strict=True
    ):
        for i, (name, trace) in enumerate(traces.items()):
            every = max(1, len(trace) // _MARKERS_PER_LINE)
            panel.plot(
                trace[column],
                trace["objective"],
                label=name,
                color=_COLOURS[i % len(_COLOURS)],
                linestyle=_LINES[i % len(_LINES)],
                linewidth=1.8,
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=5.5,
                markeredgecolor="white",
                markeredgewidth=0.6,
                # Staggered, so that lines that run together can be told apart.
                markevery=(i * every // max(1, len(traces)), every),
            )
        panel.set_xlabel(label)
        panel.grid(color="0.9", linewidth=0.7)
        panel.set_axisbelow(True)
        panel.spines[["top", "right"]].set_visible(False)
    spent = [trace[-1].seconds for trace in traces.values() if len(trace)]
    if spent and max(spent) > _LOGARITHMIC_FROM * min(spent):
        panels[0].set_xscale("log")
    else:
        panels[0].set_xlim(left=0)
    panels[1].set_xlim(left=0)
    if spent and all((trace["objective"] > 0).all() for trace in traces.values()):
        panels[0].set_yscale("log")
    panels[0].set_ylabel("objective")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside upper center",
        ncols=min(len(labels), _NAMES_IN_A_ROW),
        frameon=False,
        handlelength=3,
    )
    return figure
