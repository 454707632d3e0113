"""What is made of the runs: medians, spreads, and whether the targets are met.

Pure: it only reads what was measured.
"""

import dataclasses
import statistics

from figures_table import FIGURES


@dataclasses.dataclass
class Run:
    """What one run came to. A figure can have a value and be void: it is shown, but it counts for nothing."""

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
    """A figure's entry in the report. The median is judged; one that has none, or is void, is not met."""
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
    """Of every figure that some of the runs, which measured the same, was about."""
    about = {name for run in runs for part in (run.values, run.broken) for name in part}
    return {name: entry(figure, runs) for name, figure in FIGURES.items() if name in about}


def counted(figures):
    """How many targets are met, and of how many."""
    judged = [own["met"] for own in figures.values() if own["met"] is not None]
    return sum(judged), len(judged)


def all_met(figures):
    """Also that nothing is void, targets or not, and that something was judged."""
    met, judged = counted(figures)
    return 0 < judged == met and not any(own["void"] or own["broken"] for own in figures.values())


# ---- the table ----

HEADER = f"{'figure':<38} {'median':>12} {'spread':>25} {'unit':<6} {'target':>12}  verdict"


def number(value):
    """Short, but with the digits that tell it from a target."""
    if value is None:
        return "none"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    digits = next(digits for least, digits in ((100, 1), (0.1, 3), (0.01, 4), (0, 5)) if abs(value) >= least)
    return f"{value:.{digits}f}"


def verdict(own):
    said = [f"{word}: {of_several(own[key])}" for word, key in (("BROKE OFF", "broken"), ("VOID", "void")) if own[key]]
    return " | ".join(said) or {True: "met", False: "FALLS SHORT", None: ""}[own["met"]]


def of_several(reasons):
    """The first; the report has them all."""
    return reasons[0] if len(reasons) == 1 else f"{reasons[0]} (and {len(reasons) - 1} more)"


def row(name, own):
    spread = "" if own["min"] == own["max"] else f"{number(own['min'])} .. {number(own['max'])}"
    return (
        f"{name:<38} {number(own['median']):>12} {spread:>25} {own['unit']:<6} {own['target'] or '':>12}  "
        f"{verdict(own)}"
    ).rstrip()
