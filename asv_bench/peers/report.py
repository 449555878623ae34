"""A run's results as rows, as a table for the screen or for Markdown, and as JSON."""

import json
from statistics import median

from asv_bench.peers.figures import FIGURES
from asv_bench.peers.libraries import LIBRARIES, OURS
from asv_bench.peers.rounds import in_threads, with_unit

# Ratios of a row, and the titles of their columns.
RATIOS = {
    "ratio": "fastest peer / ours",
    "median_ratio": "median of rounds",
    "ratio_same_threads": "same threads",
}


def rows_of(values, timed, threads):
    """One row for each task and number of threads.

    Parameters
    ----------
    values : dict
        As of `rounds.Results`.
    timed, threads
        As of `rounds.plan`.

    Returns
    -------
    list of dict
        task : name; description; threads; seconds : by library, of those with a figure;
        fastest_peer : None or its library, threads and seconds, over all numbers of threads;
        ratio : of its seconds to fastmlp's; ratio_same_threads : of those of the fastest peer
        with as many threads; gflops and share_of_peak : fastmlp's. None where a figure is missing.
    """
    rows = []
    for task, libraries in timed:
        peers = [
            {"library": library, "threads": n, "seconds": values["seconds", task.name, n, library]}
            for library in libraries
            for n in threads
            if library != OURS and ("seconds", task.name, n, library) in values
        ]
        fastest = min(peers, key=lambda peer: peer["seconds"], default=None)
        for n in threads:
            found = {x: values.get(("seconds", task.name, n, x)) for x in libraries}
            seconds = {library: value for library, value in found.items() if value is not None}
            ours, peak = seconds.get(OURS), values.get(("peak", task.dtype, n))
            gflops = task.flops / ours / 1e9 if ours else None
            same = [value for library, value in seconds.items() if library != OURS]
            rows.append(
                {
                    "task": task.name,
                    "description": task.description,
                    "threads": n,
                    "seconds": seconds,
                    "fastest_peer": fastest,
                    "ratio": fastest["seconds"] / ours if fastest and ours else None,
                    "ratio_same_threads": min(same) / ours if same and ours else None,
                    "gflops": gflops,
                    "share_of_peak": gflops / peak if gflops and peak else None,
                }
            )
    return rows


def rows_with_medians(results, timed, threads):
    """`rows_of` with `median_ratio`: the median over rounds of the ratio that each has alone."""
    rows = rows_of(results.values, timed, threads)
    rounds = [rows_of(values, timed, threads) for values in results.by_round()]
    for row, *same in zip(rows, *rounds, strict=True):
        ratios = [one["ratio"] for one in same if one["ratio"] is not None]
        row["median_ratio"] = median(ratios) if ratios else None
    return rows


def cells_of(rows):
    """Header and cells of the table, as text."""
    libraries = [x for x in LIBRARIES if any(x in row["seconds"] for row in rows)]
    titles = [LIBRARIES[library].title for library in libraries]
    table = [["", "threads", *titles, *RATIOS.values(), "GFLOP/s", "of peak"]]
    for row in rows:
        table.append(
            [
                row["description"],
                str(row["threads"]),
                *(_microseconds(row["seconds"].get(library)) for library in libraries),
                *(_ratio(row[ratio]) for ratio in RATIOS),
                _format(row["gflops"], ".1f"),
                _format(row["share_of_peak"], ".0%"),
            ]
        )
    return table


def _format(value, form):
    return "-" if value is None else format(value, form)


def _ratio(value):
    return _format(value, ".2f") + (" slower" if value is not None and value < 1 else "")


def _microseconds(seconds):
    """Three digits or more."""
    if seconds is None:
        return "-"
    value = seconds * 1e6
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f}"


def figures_of(values):
    """The figures of fastmlp alone: a list of dicts of name, threads, title, value and unit."""
    found = []
    for key, value in values.items():
        if key[0] == "figure":
            _, name, n = key
            figure = FIGURES[name]
            title = figure.title if n is None else f"{figure.title}, {in_threads(n)}"
            found.append(
                {"name": name, "threads": n, "title": title, "value": value, "unit": figure.unit}
            )
    return found


def notes_on(results, rows, n_rounds):
    """What the columns mean, and where fastmlp is behind: a list of sentences."""
    notes = []
    if rows:
        notes.append(
            f"Microseconds a step or call, the least of {n_rounds} "
            f"round{'s' if n_rounds > 1 else ''}. The first ratio is that of the fastest peer "
            "with whatever number of threads suits it best, the second the median of what it is "
            "in each round alone, the third that of the fastest peer with as many as ours."
        )
    peaks = [
        f"{value:,.0f} GFLOP/s in {key[1]} with {in_threads(key[2])}"
        for key, value in results.values.items()
        if key[0] == "peak"
    ]
    if peaks:
        notes.append(f"Peak is a 2048 x 2048 product of NumPy's BLAS: {', '.join(peaks)}.")
    for ratio, than in (
        ("ratio", "a peer"),
        ("ratio_same_threads", "a peer with as many threads"),
    ):
        compared = [row for row in rows if row[ratio] is not None]
        slower = [
            f"{row['task']} with {in_threads(row['threads'])}" for row in compared if row[ratio] < 1
        ]
        if compared:
            notes.append(
                f"Slower than {than} in {len(slower)} of {len(compared)} rows"
                f"{': ' + ', '.join(slower) if slower else ''}."
            )
    if results.skipped:
        titles = [LIBRARIES[library].title for library in results.skipped]
        notes.append(f"Not installed, and skipped: {', '.join(titles)}.")
    return [*notes, *(f"Left out: {label}: {reason}" for label, reason in results.failed.items())]


def cells_of_figures(figures):
    """Header and cells of the table of `figures_of`, as text."""
    return [["figure", ""], *([f["title"], with_unit(f["value"], f["unit"])] for f in figures)]


def as_text(table):
    """A table in columns, the first flush left."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = []
    for first, *others in table:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_markdown(table):
    """A table in Markdown, columns but the first flush right."""
    header, *rows = table
    rule = ["---", *("---:" for _ in header[1:])]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *rows))


def as_json(machine, results, rows, runs, n_rounds):
    """Everything, in JSON: a str.

    Parameters
    ----------
    machine : dict
        As of `machine.inspect`.
    results : rounds.Results
    rows : list of dict
        As of `rows_with_medians`.
    runs : list of dict
        As of `minimization_report.rows_of`.
    n_rounds : int
    """
    peaks = [
        {"dtype": key[1], "threads": key[2], "gflops": value}
        for key, value in results.values.items()
        if key[0] == "peak"
    ]
    content = {
        "machine": machine,
        "rounds": n_rounds,
        "peaks": peaks,
        "rows": rows,
        "lbfgs": runs,
        "figures": figures_of(results.values),
        "skipped": results.skipped,
        "failed": results.failed,
    }
    return json.dumps(content, indent=1)
