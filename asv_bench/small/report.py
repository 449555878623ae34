"""What was measured as tables in Markdown."""

from asv_bench.peers.libraries import LIBRARIES
from asv_bench.peers.report import as_markdown


def tables(tasks, figures, above_kernels):
    """All tables as text.

    Parameters
    ----------
    tasks : list of Task
    figures : dict
        By the name of a task and the library what `tasks.measure` gives, the median of all rounds.
    above_kernels : float or None
        Seconds.
    """
    parts = []
    fits = [task for task in tasks if task.kind != "lbfgs"]
    if fits:
        parts.append(as_markdown(fit_cells(fits, figures)))
    solved = [task for task in tasks if task.kind == "lbfgs"]
    if solved:
        parts.append(as_markdown(lbfgs_cells(solved, figures)))
    if above_kernels is not None:
        parts.append(
            "`fit` above its kernels, 5 full-batch epochs of 4-32-16-4 on 10,000 rows: "
            f"{1e3 * above_kernels:.2f} ms."
        )
    return "\n\n".join(parts)


def fit_cells(tasks, figures):
    """Header and cells: milliseconds of a fit, and the ratio of the fastest peer to ours."""
    libraries = [x for x in LIBRARIES if any((task.name, x) in figures for task in tasks)]
    titles = [LIBRARIES[library].title for library in libraries]
    table = [["milliseconds a fit", *titles, "fastest peer / ours"]]
    for task in tasks:
        seconds = {x: figures.get((task.name, x), {}).get("seconds") for x in libraries}
        cells = [_milliseconds(seconds[library]) for library in libraries]
        table.append([task.title, *cells, _ratio_to_fastest(seconds)])
    return table


def lbfgs_cells(tasks, figures):
    """Header and cells: ours beside SciPy's on our objective, and beside scikit-learn's."""
    header = ["L-BFGS, 100 iterations", "fastmlp, ms", "µs an evaluation"]
    header += ["SciPy, µs an evaluation", "SciPy / fastmlp", "scikit-learn, ms", "ratio"]
    table = [header]
    for task in tasks:
        ours, scipy, theirs = (
            figures.get((task.name, x)) for x in ("fastmlp", "scipy", "scikit-learn")
        )
        each = [one and one["seconds"] / one["evaluations"] for one in (ours, scipy)]
        whole = [one and one["seconds"] for one in (ours, theirs)]
        table.append(
            [
                task.title,
                _milliseconds(whole[0]),
                *(_number(one and 1e6 * one) for one in each),
                _ratio(each[1], each[0]),
                _milliseconds(whole[1]),
                _ratio(whole[1], whole[0]),
            ]
        )
    return table


def _ratio_to_fastest(seconds):
    peers = [value for library, value in seconds.items() if library != "fastmlp" and value]
    return _ratio(min(peers, default=None), seconds.get("fastmlp"))


def _ratio(one, other):
    return f"{one / other:.1f}" if one and other else "-"


def _milliseconds(seconds):
    return _number(seconds and 1e3 * seconds)


def _number(value):
    return "-" if value is None else f"{value:.3g}"
