"""Summarizes the runs: medians, spreads, and whether the targets are met.

Pure: only reads the measurements.
"""

import dataclasses
import statistics

from figures_table import FIGURES


@dataclasses.dataclass
class Run:
    """The results of one run. A void figure may have a value; it is shown but not judged."""

    values: dict = dataclasses.field(default_factory=dict)
    void: dict = dataclasses.field(default_factory=dict)  # figure: reasons
    broken: dict = dataclasses.field(default_factory=dict)  # figure: why it has no value
    unaccounted: bool = False  # host, library and endpoint did not count the same events

    def add(self, values, void=()):
        self.values |= {name: value for name, value in values.items() if value is not None}
        if void:
            self.void |= {name: [*self.void.get(name, []), *void] for name in values}


def within(value, figure):
    return {"<=": value <= figure.limit, ">=": value >= figure.limit}[figure.bound]


def entry(figure, runs):
    """Returns a figure's entry in the report. Judges the median; a void figure, or one without a median, is not met."""
    values = [run.values[figure.name] for run in runs if run.values.get(figure.name) is not None]
    void = unique(reason for run in runs for reason in run.void.get(figure.name, []))
    broken = unique(run.broken[figure.name] for run in runs if figure.name in run.broken)
    if len(values) < len(runs) and not broken:
        broken = [f"{len(runs) - len(values)} of {len(runs)} runs have no value"]
    median = statistics.median(values) if values else None
    good = not void and not broken and median is not None
    return {
        "median": median,
        "min": min(values, default=None),
        "max": max(values, default=None),
        "runs": values,
        "unit": figure.unit,
        "target": figure.target,
        "met": None if figure.bound is None else good and within(median, figure),
        "void": void,
        "broken": broken,
    }


def unique(values):
    return list(dict.fromkeys(values))


def entries(runs):
    """Returns the entries of all figures in the runs, which repeat the same measurement."""
    names = {name for run in runs for part in (run.values, run.broken) for name in part}
    return {name: entry(figure, runs) for name, figure in FIGURES.items() if name in names}


def count_met(figures):
    """Counts the targets that are met, and all targets."""
    judged = [own["met"] for own in figures.values() if own["met"] is not None]
    return sum(judged), len(judged)


def all_met(figures):
    """Returns whether all targets are met, at least one was judged, and no figure is void or broken."""
    met, judged = count_met(figures)
    return 0 < judged == met and not any(own["void"] or own["broken"] for own in figures.values())


# ---- the table ----

HEADER = f"{'figure':<38} {'median':>12} {'spread':>25} {'unit':<6} {'target':>12}  verdict"


def number(value):
    """Formats a value briefly, with enough digits to distinguish it from a target."""
    if value is None:
        return "none"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = next(digits for least, digits in ((100, 1), (0.1, 3), (0.01, 4), (0, 5)) if abs(value) >= least)
    return f"{value:.{digits}f}"


def verdict(own):
    labels = (("BROKE OFF", "broken"), ("VOID", "void"))
    parts = [f"{label}: {summarize_reasons(own[key])}" for label, key in labels if own[key]]
    return " | ".join(parts) or {True: "met", False: "FALLS SHORT", None: ""}[own["met"]]


def summarize_reasons(reasons):
    """Returns the first reason and the number of others. The report lists them all."""
    return reasons[0] if len(reasons) == 1 else f"{reasons[0]} (and {len(reasons) - 1} more)"


def row(name, own):
    spread = "" if own["min"] == own["max"] else f"{number(own['min'])} .. {number(own['max'])}"
    return (
        f"{name:<38} {number(own['median']):>12} {spread:>25} {own['unit']:<6} {own['target'] or '':>12}  "
        f"{verdict(own)}"
    ).rstrip()
