"""Figures, by matplotlib's object interface: no window opens and no global state changes."""

import math
import textwrap

import numpy as np

from fastmlp.validation import check_known

# The first seven are Okabe & Ito's, "Color universal design" (2008): told apart with any kind of
# colour vision. Their yellow is left out, being too pale for a line on white. Each of the others is
# the farthest from all before it, for normal and for red-green blind eyes.
_COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#000000", "#E69F00", "#56B4E9"),
    *("#600000", "#0000E0", "#A0C060", "#C000A0", "#606020", "#000060", "#E00040"),
    *("#406060", "#8060E0"),
)
# Five strokes and seven markers: no two of the first 35 lines have both alike.
_LINES = ("-", "--", "-.", (0, (1, 1.2)), (0, (5, 1, 1, 1, 1, 1)))
_MARKERS = "osD^vPX"

# Of a legend: characters to an inch, where a long name breaks, and inches that the sample of a
# line before it takes.
_CHARACTERS_TO_AN_INCH = 11
_SAMPLE = 0.9

# Where one optimizer took so many times more than another, the axis is logarithmic, lest all that
# the thrifty one did becomes a vertical stroke.
_LOGARITHMIC_FROM = 4

# Objectives so many times that of the start are off the figure: of runs that diverge.
_HIGHEST = 10

# With more lines than this they are thinner, bands paler and markers fewer, lest bands are buried.
_NARROW_FROM = 5
_MARKERS_PER_LINE = 5
_MARKERS_PER_NARROW_LINE = 3

# Points at which the median over several seeds is drawn.
_MOST_POINTS = 400

# Of a figure of paths: lines of equal value, points along each axis between which they are drawn,
# panels beside each other, and iterates that a panel shows.
_N_CONTOURS = 14
_N_GRID = 200
_PANELS_IN_A_ROW = 4
_POINTS_ON_A_PATH = 100

# What is spent on the way: columns of `Record`, and how axes call them.
_SPENT = {
    "seconds": "seconds",
    "data_passes": "data passes",
    "n_grad_evals": "gradient evaluations",
}


# Inches of a figure: panels beside each other, and of one that is as narrow as a phone.
_WIDE, _NARROW = 13.0, 4.4


def new_figure(width, height):
    """A figure of so many inches, which notebooks show."""
    try:
        from fastmlp.figure import ShownFigure
    except ImportError:
        raise ImportError("plots need matplotlib: pip install 'fastmlp[plot]'") from None
    return ShownFigure(figsize=(width, height), dpi=150, layout="constrained")


def plot_traces(traces, target=None, *, narrow=False):
    """Draw the objective of several traces against seconds, data passes and gradient evaluations.

    Parameters
    ----------
    traces : dict of str to list of Trace
        For each name its traces, one for each seed. Of several the line is the median, and the
        band around it lies between the quartiles. At every moment a trace counts with its newest
        record, which is what one would have on stopping there, not with the best so far; and
        with its last record after its end.
    target : float or None, default None
        Where to draw a horizontal line.
    narrow : bool, default False
        One panel below the other, legible on a phone, instead of beside it.

    Returns
    -------
    matplotlib.figure.Figure
        It shows itself in a notebook. Its vertical axis is logarithmic, unless an objective is
        negative. A horizontal one is if the optimizers differ much in what they spent; where the
        start cost nothing, it is linear up to its first mark then.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    figure = new_figure(_NARROW, 9.0) if narrow else new_figure(_WIDE, 4.1)
    grid = (len(_SPENT), 1) if narrow else (1, len(_SPENT))
    panels = figure.subplots(*grid, sharey=True)
    traces, limit = _scaled(panels[0], traces)
    for panel in panels if narrow else panels[:1]:
        panel.set_ylabel("objective")
    for panel, column in zip(panels, _SPENT, strict=True):
        _draw_traces(panel, column, traces, 10 * limit, target)
    if target is not None:
        _name_target(panels[-1], target)
    if np.isfinite(limit):
        panels[0].set_ylim(top=limit)
    _add_legend(figure, panels[0].get_lines()[: len(traces)])
    return figure


def plot_traces_on(ax, column, traces, target=None):
    """Draw one panel of `plot_traces`, with a legend; return it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
    column : str
        What the horizontal axis is: a column of `Record`.
    traces, target
        As of `plot_traces`.
    """
    traces, limit = _scaled(ax, traces)
    ax.set_ylabel("objective")
    _draw_traces(ax, column, traces, 10 * limit, target)
    if target is not None:
        _name_target(ax, target)
    if np.isfinite(limit):
        ax.set_ylim(top=limit)
    add_legend_above(ax, ax.get_lines()[: len(traces)])
    return ax


def plot_trace(trace, ax, x):
    """Do what `FitResult.plot` does."""
    axes = {"epochs": ("epoch", "epochs"), "seconds": ("seconds", "seconds")}
    check_known("x", x, axes)
    column, label = axes[x]
    panel = new_figure(6.8, 4.2).subplots() if ax is None else ax
    losses = {"objective": trace["objective"], "validation loss": trace["validation_loss"]}
    losses = {name: values for name, values in losses.items() if not np.isnan(values).all()}
    rates = trace["learning_rate"]
    has_rates = len(rates) > 0 and not np.isnan(rates).all()
    xs, n = trace[column], 3  # a kind of line for each column, whichever there are
    lines = draw_losses(panel, xs, losses, n)
    panel.set_xlabel(label)
    if x == "epochs":
        panel.xaxis.get_major_locator().set_params(integer=True)
    if has_rates:
        right, line = draw_on_the_right(panel, xs, rates, "learning rate", "learning rate", n)
        lines.append(line)
        lowest, highest = np.nanmin(rates), np.nanmax(rates)
        if 0 < lowest < highest / _LOGARITHMIC_FROM:
            right.set_yscale("log")
        else:
            right.set_ylim(0, 1.1 * highest or 1.0)
    add_legend_above(panel, lines)
    return panel.figure if ax is None else ax


def draw_losses(panel, xs, losses, n):
    """Draw losses over `xs`, by name, like the first of n lines; return the lines."""
    limit = set_objective_scale(panel, list(losses.values()))
    lines = []
    for i, (name, values) in enumerate(losses.items()):
        style = line_style(panel, xs, i, n)
        lines += panel.plot(xs, np.minimum(values, 10 * limit), label=name, **style)
    if np.isfinite(limit):
        panel.set_ylim(top=limit)
    panel.set_ylabel("loss")
    tidy(panel)
    return lines


def draw_on_the_right(panel, xs, values, name, title, n):
    """Draw what is like the last of n lines on an axis of its own, which has its colour.

    Returns
    -------
    (matplotlib.axes.Axes, matplotlib.lines.Line2D)
    """
    right = panel.twinx()
    style = line_style(right, xs, n - 1, n)
    (line,) = right.plot(xs, values, label=name, **style)
    right.set_ylabel(title, color=style["color"])
    right.tick_params(axis="y", which="both", labelcolor=style["color"])
    right.spines[["top", "left", "bottom"]].set_visible(False)
    return right, line


def add_legend_above(panel, lines):
    """Add a legend above a panel, or within where there is no room above it."""
    figure = panel.figure
    figure.draw_without_rendering()  # so that the panel has its place
    for place in ({"loc": "lower left", "bbox_to_anchor": (0, 1)}, {"loc": "best"}):
        legend = whole_legend(panel, lines, panel.bbox.width, **place)
        figure.draw_without_rendering()
        if legend.get_window_extent().y1 <= figure.bbox.y1:
            return


def _scaled(panel, traces):
    """Choose the scale of a panel's vertical axis.

    Returns
    -------
    (dict, float)
        The traces that have records, and where the axis is to end.
    """
    traces = {name: [t for t in several if len(t)] for name, several in traces.items()}
    columns = [trace["objective"] for several in traces.values() for trace in several]
    return traces, set_objective_scale(panel, columns)


def _draw_traces(panel, column, traces, highest, target):
    """Draw traces, by name, against a column of `Record`, none higher than `highest`."""
    opacity = 0.25 if len(traces) <= _NARROW_FROM else 0.18
    _set_spent_axis(panel, [trace[column] for several in traces.values() for trace in several])
    panel.set_xlabel(_SPENT[column])
    tidy(panel)
    for i, (name, several) in enumerate(traces.items()):
        xs, low, median, high = quartiles_over_time(several, column)
        shape = {"drawstyle": "steps-post"} if len(several) > 1 else {}
        style = line_style(panel, xs, i, len(traces)) | shape
        panel.plot(xs, np.minimum(median, highest), label=name, **style)
        if len(several) > 1:
            panel.fill_between(
                xs,
                np.minimum(low, highest),
                np.minimum(high, highest),
                step="post",
                color=style["color"],
                alpha=opacity,
                linewidth=0,
            )
    if target is not None:
        panel.axhline(target, color="0.45", linewidth=1, linestyle=(0, (2, 2)), zorder=1)


def _name_target(panel, target):
    panel.annotate(
        "target",
        (1, target),
        xycoords=("axes fraction", "data"),
        xytext=(-2, 3),
        textcoords="offset points",
        ha="right",
        fontsize=8,
        color="0.35",
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 0.5},
    )


def line_style(panel, xs, i, n):
    """How line i of n looks over `xs`: no two alike, and the markers of none over another's."""
    narrow = n > _NARROW_FROM
    n_markers = _MARKERS_PER_NARROW_LINE if narrow else _MARKERS_PER_LINE
    return {
        "color": _COLOURS[i % len(_COLOURS)],
        "linestyle": _LINES[i % len(_LINES)],
        "linewidth": 1.1 if narrow else 1.6,
        "marker": _MARKERS[i % len(_MARKERS)],
        "markersize": 4.5 if narrow else 5.5,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "markevery": _marked(xs, panel.get_xscale() != "linear", (i + 0.5) / n, n_markers),
    }


def _marked(xs, logarithmic, shift, n_markers):
    """Indices of points evenly spaced along an axis, `shift` of a space from the left."""
    if not len(xs):
        return []
    if logarithmic and xs[-1] > 0:
        xs = np.log(np.maximum(xs, xs[xs > 0][0] / 2))
    wanted = xs[0] + (xs[-1] - xs[0]) * (np.arange(n_markers) + shift) / n_markers
    return np.unique(np.minimum(np.searchsorted(xs, wanted), len(xs) - 1)).tolist()


def quartiles_over_time(traces, column):
    """Quartiles over several traces, each of which keeps its objective until its next record.

    Parameters
    ----------
    traces : list of Trace
        Each with at least one record.
    column : str
        What time is: a column of `Record` that never falls.

    Returns
    -------
    (xs, low, median, high) : ndarray (n,) each
        From where all traces have begun to where the last one ends, at their records, thinned
        out evenly if these are many. Of one trace its records, all of them.
    """
    if len(traces) < 2:
        xs, values = (traces[0][column], traces[0]["objective"]) if traces else ([], [])
        return xs, values, values, values
    positions = [trace[column] for trace in traces]
    xs = np.unique(np.concatenate(positions))
    xs = xs[xs >= max(own[0] for own in positions)]
    if xs.size > _MOST_POINTS:
        xs = xs[np.linspace(0, xs.size - 1, _MOST_POINTS).round().astype(int)]
    values = [
        trace["objective"][np.searchsorted(own, xs, side="right") - 1]
        for trace, own in zip(traces, positions, strict=True)
    ]
    return xs, *np.quantile(values, [0.25, 0.5, 0.75], axis=0)


def _set_spent_axis(panel, columns):
    """Choose the scale of a horizontal axis from what is to be drawn over it."""
    columns = [column for column in columns if column[-1] > 0]
    spent = [column[-1] for column in columns]
    if not spent or max(spent) <= _LOGARITHMIC_FROM * min(spent):
        panel.set_xlim(0, 1.03 * max(spent, default=1))
        panel.xaxis.get_major_locator().set_params(nbins=6, integer=max(spent, default=0) >= 4)
        return
    least = min(column[column > 0].min() for column in columns)
    if all(column[0] > 0 for column in columns):
        panel.set_xscale("log")
        panel.set_xlim(least / 1.2, 1.2 * max(spent))
    else:
        panel.set_xscale("symlog", linthresh=10.0 ** math.floor(math.log10(least)))
        panel.set_xlim(0, 1.2 * max(spent))


def set_objective_scale(panel, columns):
    """Choose the scale of the vertical axis; return where it is to end, infinity for anywhere.

    A run that diverges is not to press the others together.
    """
    values = [column[np.isfinite(column)] for column in columns]
    values = [column for column in values if column.size]
    if not values:
        return np.inf
    highest = max(column.max() for column in values)
    if min(column.min() for column in values) >= 0 and highest > 0:
        panel.set_yscale("log")
    limit = _HIGHEST * max(abs(column[0]) for column in values)
    return limit if highest > limit > 0 else np.inf


def tidy(panel):
    panel.grid(color="0.9", linewidth=0.7)
    panel.set_axisbelow(True)
    panel.spines[["top", "right"]].set_visible(False)


def _add_legend(figure, lines):
    """Add a legend above all panels, and make the figure taller by it."""
    legend = whole_legend(figure, lines, figure.bbox.width, loc="outside upper center")
    figure.set_figheight(figure.get_figheight() + legend.get_window_extent().height / figure.dpi)


def whole_legend(owner, lines, room, **place):
    """Make a legend with as many columns as are no wider than `room`, and every name whole.

    Parameters
    ----------
    owner : matplotlib.figure.Figure or matplotlib.axes.Axes
    lines : list of matplotlib.lines.Line2D
        Named by their labels.
    room : float
        In pixels.
    **place
        Of the legend.

    Returns
    -------
    matplotlib.legend.Legend
    """
    inches = room / owner.figure.dpi - _SAMPLE
    longest = max(int(inches * _CHARACTERS_TO_AN_INCH), 1)
    names = [textwrap.fill(line.get_label(), longest) for line in lines]
    shortest = min((len(name.partition("\n")[0]) for name in names), default=0)
    # No letter is half as wide as most: more columns than these need not be tried.
    most = (inches + _SAMPLE) / (_SAMPLE + shortest / _CHARACTERS_TO_AN_INCH / 2)
    for n_columns in range(max(1, min(len(lines), int(most))), 0, -1):
        # Names come afterwards, as they are: matplotlib takes "$" for mathematics, and leaves out
        # what begins with "_".
        legend = owner.legend(
            lines,
            ["name"] * len(lines),
            ncols=n_columns,
            frameon=False,
            handlelength=3,
            columnspacing=1.5,
            **place,
        )
        for text, name in zip(legend.get_texts(), names, strict=True):
            text.set(text=name, parse_math=False)
        if n_columns == 1 or legend.get_window_extent().width <= room:
            break
        legend.remove()
    return legend


def plot_profile(profile, column, *, narrow=False):
    """Draw performance profiles.

    Parameters
    ----------
    profile : Profile
    column : str
        What the costs are: a column of `Record`.
    narrow : bool, default False
        Legible on a phone.

    Returns
    -------
    matplotlib.figure.Figure
        It shows itself in a notebook.

    Raises
    ------
    ImportError
        Without matplotlib.
    """
    figure = new_figure(_NARROW, 3.4) if narrow else new_figure(7.6, 4.4)
    panel = figure.subplots()
    end = max(2.0, profile.factors[-1] * 1.1)
    factors = np.append(profile.factors, end)
    panel.set_xscale("log", base=2 if end < 64 else 10)
    for i, (name, fractions) in enumerate(profile.fractions.items()):
        heights = np.append(fractions, fractions[-1])
        style = line_style(panel, factors, i, len(profile.fractions))
        panel.plot(factors, heights, drawstyle="steps-post", label=name, **style)
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set(xlim=(1, end), ylim=(-0.02, 1.02))
    separator = ",\n" if narrow else ", "
    panel.set_xlabel(f"{_SPENT[column]}{separator}in multiples of the least of any optimizer")
    panel.set_ylabel(f"solved, out of {profile.n_instances} runs")
    panel.yaxis.set_major_formatter("{x:.0%}")
    tidy(panel)
    _add_legend(figure, panel.get_lines())
    return figure


@np.errstate(all="ignore")
def plot_paths(value, paths, *, minimum=None):
    """Draw the iterates of several optimizers over the contours of a function of two variables.

    Each has a panel of its own, with its name and the number of its iterates: a circle is the
    start, a cross the end, a star the minimum.

    Parameters
    ----------
    value : callable
        Of a point, ndarray (2,); returns a number. Called for 40,000 points.
    paths : dict of str to array_like (n, 2)
        The iterates of each, in order. What is not finite, or far away from all else, is left
        out or lies outside of the figure.
    minimum : array_like (2,) or None, default None
        Where the function is least.

    Returns
    -------
    matplotlib.figure.Figure
        It shows itself in a notebook.

    Raises
    ------
    ValueError
        If the points do not have two coordinates, or there are none.
    ImportError
        Without matplotlib.

    Examples
    --------
    >>> from fastmlp import minimize
    >>> from fastmlp.plotting import plot_paths
    >>> def bowl(x):
    ...     return float(x @ x), 2 * x
    >>> path = []
    >>> result = minimize(bowl, [3.0, 4.0], callbacks=lambda p: path.append(p.theta.copy()))
    >>> figure = plot_paths(lambda x: bowl(x)[0], {"L-BFGS": path}, minimum=[0, 0])
    """
    paths = {name: _as_points(f"paths[{name!r}]", path) for name, path in paths.items()}
    marked = np.empty((0, 2)) if minimum is None else _as_points("minimum", [minimum])
    if not any(map(len, paths.values())):
        raise ValueError("paths must have at least one finite point, got none")
    low, high = _frame(paths.values(), marked)
    axes = [np.linspace(low[i], high[i], _N_GRID) for i in range(2)]
    heights = np.array([[float(value(np.array([x, y]))) for x in axes[0]] for y in axes[1]])

    n_rows = -(-len(paths) // _PANELS_IN_A_ROW)
    n_columns = -(-len(paths) // n_rows)
    side = 3.4 if n_columns > 1 else 5.5
    figure = new_figure(side * n_columns, (side + 0.2) * n_rows)
    panels = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
    shown, levels = _levels(heights)
    for i, panel in enumerate(panels.flat):
        if i >= len(paths):
            panel.set_axis_off()
            panels.flat[i - n_columns].tick_params(labelbottom=True)
            continue
        name, path = list(paths.items())[i]
        panel.contour(*axes, shown, levels=levels, colors="0.78", linewidths=0.7)
        panel.plot(
            *path.T,
            color=_COLOURS[i % len(_COLOURS)],
            linewidth=1.2,
            marker="o",
            markersize=3.2,
            # All iterates of a short path; of a long one some, lest they merge into a band.
            markevery=max(1, len(path) // _POINTS_ON_A_PATH),
        )
        panel.plot(*path[:1].T, "o", color="white", markeredgecolor="black", markersize=7)
        panel.plot(*marked.T, "*", color="#F0E442", markeredgecolor="black", markersize=15)
        panel.plot(*path[-1:].T, "X", color="black", markeredgecolor="white", markersize=7)
        panel.set_title(f"{name} ({len(path)})", fontsize=10, parse_math=False)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    figure.supxlabel("$x_1$")
    figure.supylabel("$x_2$")
    return figure


def _as_points(name, points):
    """Points as (n, 2), the finite ones alone."""
    array = np.asarray(points, np.float64).reshape(len(points), -1)
    if len(array) and array.shape[1] != 2:
        raise ValueError(f"{name} must have points of two coordinates, got {array.shape[1]}")
    array = array.reshape(-1, 2)
    return array[np.isfinite(array).all(axis=1)]


def _frame(paths, marked):
    """Corners of the rectangle to draw: that of starts and minimum, widened by most iterates."""
    firm = np.concatenate([marked, *(path[:1] for path in paths)])
    core_low, core_high = firm.min(axis=0), firm.max(axis=0)
    size = max((core_high - core_low).max(), 1e-12) if len(firm) > 1 else 0.0
    low, high = core_low, core_high
    for path in paths:
        if len(path):
            quantiles = np.quantile(path, [0.02, 0.98], axis=0)
            low, high = np.minimum(low, quantiles[0]), np.maximum(high, quantiles[1])
    if size:
        low, high = np.maximum(low, core_low - size / 2), np.minimum(high, core_high + size / 2)
    # Neither a point nor a line makes a picture.
    span = np.maximum(high - low, 0.4 * max((high - low).max(), 1e-6))
    middle = (low + high) / 2
    return middle - 0.62 * span, middle + 0.62 * span


def _levels(heights):
    """Heights to draw and levels among them: evenly spaced in the logarithm above the least."""
    finite = heights[np.isfinite(heights)]
    if finite.size == 0 or finite.min() == finite.max():
        return np.nan_to_num(heights), None
    above = heights - finite.min()
    positive = above[np.isfinite(above) & (above > 0)]
    first, last = np.quantile(positive, [0.005, 1.0])
    return above, np.geomspace(first, last, _N_CONTOURS, endpoint=False)
