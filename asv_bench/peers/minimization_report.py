"""Results of minimizers as rows, tables and JSON."""

from asv_bench.peers.minimizations import MINIMIZERS, OURS, PEERS, SOLVER_PEERS

# Ratios of a row, what they compare, and the titles of their columns.
RATIOS = {
    "each": (PEERS, "seconds_each", "fastest peer / ours, an evaluation"),
    "to_target": (PEERS, "seconds_to_target", "to the target"),
    "each_scipy": (SOLVER_PEERS, "seconds_each", "SciPy over fastmlp / ours, an evaluation"),
    "to_target_scipy": (SOLVER_PEERS, "seconds_to_target", "to the target"),
}


def rows_of(values, minimized, threads):
    """One row for each problem and number of threads.

    Parameters
    ----------
    values : dict
        As of `rounds.Results`.
    minimized : list of (Minimization, list of str)
        Problems and the keys of MINIMIZERS that are run on each.
    threads : list of int

    Returns
    -------
    list of dict
        problem : name; description; threads; target : the largest of the objectives that the
        minimizers reached, over all numbers of threads; runs : by minimizer, a dict of
        iterations, evaluations, seconds, seconds_each, objective and seconds_to_target; ratios :
        by key of RATIOS, of the fastest peer, whatever its number of threads, to fastmlp; None
        where a figure is missing.
    """
    rows = []
    for problem, minimizers in minimized:
        runs = {
            (n, minimizer): values["run", problem.name, n, minimizer]
            for n in threads
            for minimizer in minimizers
            if ("run", problem.name, n, minimizer) in values
        }
        target = max((run.least for run in runs.values()), default=None)
        found = {key: _figures(run, target) for key, run in runs.items()}
        for n in threads:
            here = {m: figures for (k, m), figures in found.items() if k == n}
            rows.append(
                {
                    "problem": problem.name,
                    "description": problem.description,
                    "threads": n,
                    "target": target,
                    "runs": here,
                    "ratios": {
                        name: _ratio(found, here.get(OURS), peers, figure)
                        for name, (peers, figure, _) in RATIOS.items()
                    },
                }
            )
    return rows


def _figures(run, target):
    return {
        "iterations": run.iterations,
        "evaluations": run.evaluations,
        "seconds": run.seconds,
        "seconds_each": run.seconds_each,
        "objective": run.least,
        "seconds_to_target": run.seconds_to(target),
    }


def _ratio(found, ours, peers, figure):
    theirs = [figures[figure] for (_, minimizer), figures in found.items() if minimizer in peers]
    return min(theirs) / ours[figure] if theirs and ours else None


def cells_of_runs(rows):
    """Header and cells of the table of what each minimizer did, as text."""
    header = ["", "threads", "", "iterations", "evaluations", "total", "each", "objective"]
    table = [[*header, "to the target"]]
    for row in rows:
        for minimizer, figures in row["runs"].items():
            table.append(
                [
                    row["description"],
                    str(row["threads"]),
                    MINIMIZERS[minimizer].title,
                    str(figures["iterations"]),
                    str(figures["evaluations"] or "-"),
                    _milliseconds(figures["seconds"]),
                    _milliseconds(figures["seconds_each"]),
                    f"{figures['objective']:.6g}",
                    _milliseconds(figures["seconds_to_target"]),
                ]
            )
    return table


def cells_of_ratios(rows):
    """Header and cells of the table of ratios, as text."""
    table = [["", "threads", *(title for _, _, title in RATIOS.values())]]
    for row in rows:
        ratios = ("-" if r is None else f"{r:.2f}" for r in row["ratios"].values())
        table.append([row["description"], str(row["threads"]), *ratios])
    return table


def _milliseconds(seconds):
    """Three digits."""
    return f"{seconds * 1e3:,.3g}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


def notes_on(rows):
    """What the columns mean: a list of sentences."""
    if not rows:
        return []
    peers = ", ".join(MINIMIZERS[peer].title for peer in PEERS)
    by_iteration = [m.title for m in MINIMIZERS.values() if m.unit == "iteration"]
    return [
        "Milliseconds: of the whole run, of an evaluation of objective and gradient with its share "
        f"of the solver's work (of {', '.join(by_iteration)}: of an iteration), and until the "
        "objective was as low as the highest of the objectives that all reached.",
        f"Peers are {peers}, each with whatever number of threads suits it best.",
    ]
