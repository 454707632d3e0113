#!/usr/bin/env python3
"""Draws what an event costs from the performance bench's report: plot.py REPORT.json PICTURE...

Left: CPU time per event, from the push to the answer. Right: one push beside the plain escape loop. A bar is a median;
its whisker is the spread of the runs. The suffix of a picture's name selects its format.
"""

import json
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")  # needs no display
# The same report gives the same file, byte for byte.
matplotlib.rcParams.update(
    {"svg.hashsalt": "performance", "font.family": "sans-serif", "font.size": 9, "svg.fonttype": "none"}
)

import matplotlib.pyplot as plt  # noqa: E402

# From Okabe and Ito's palette, whose colours are distinct for every kind of colour vision.
BLUE, VERMILION, GREY = "#0072B2", "#D55E00", "#777777"
METADATA = {".svg": {"Date": None}}

CPU = [
    ("reference.sdk.cpu_us_per_event", "AWS SDK,\nplain loop"),
    ("e2e.plain.cpu_us_per_event", "sink,\nplain"),
    ("e2e.tls.cpu_us_per_event", "sink,\nTLS"),
    ("e2e.gzip.cpu_us_per_event", "sink,\ngzip"),
]
# Published for the same kind of work on other machines, so only roughly comparable.
ELSEWHERE = [(0.66, "Fluent Bit"), (0.48, "librdkafka")]
PUSH = [
    ("push.escape_loop_ns", "escape\nloop"),
    ("push.ns_p50", "push to\na target"),
    ("push_event.ns_p50", "push\nby names"),
]
YARDSTICKS = ("reference.sdk.cpu_us_per_event", "push.escape_loop_ns")


def limit_of(figures, name):
    """Returns the target of a bar. That of the push is relative to the escape loop of the same report."""
    if name == "push.ns_p50":
        times, loop = limit_of(figures, "push.ratio_to_escape_loop"), figures["push.escape_loop_ns"]["median"]
        return times * loop if times and loop else None
    target = figures.get(name, {"target": None})["target"]
    return float(target.split()[1].replace(",", "")) if target else None


def bars(axes, figures, wanted, form):
    """Draws a bar for each measured figure, with its target as a line across it."""
    shown = [(name, label) for name, label in wanted if name in figures and figures[name]["median"] is not None]
    for place, (name, _) in enumerate(shown):
        own, limit = figures[name], limit_of(figures, name)
        over = limit is not None and own["median"] > limit
        colour = GREY if name in YARDSTICKS else VERMILION if over else BLUE
        axes.bar(place, own["median"], width=0.6, color=colour, zorder=2)
        axes.vlines(place, own["min"], own["max"], color="black", linewidth=1, zorder=3)
        # At the foot of the bar, away from the whisker and the target.
        axes.annotate(
            format(own["median"], form),
            (place, 0),
            xytext=(0, 4),
            textcoords="offset points",
            ha="center",
            fontweight="bold",
            color="white",
        )
        if limit is not None:
            axes.hlines(limit, place - 0.42, place + 0.42, color="black", linewidth=1.6, zorder=4)
    if not shown:
        axes.text(0.5, 0.2, "not measured", transform=axes.transAxes, ha="center")
    axes.set_xticks(range(len(shown)), [label for _, label in shown])
    axes.set_xlim(-0.6, max(len(shown), 1) - 0.4)
    axes.margins(y=0.12)
    axes.grid(True, axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def draw_cpu(axes, figures):
    bars(axes, figures, CPU, ".3f")
    # Leaves room for the labels beside the last bar.
    right = axes.get_xlim()[1] + 0.9
    axes.set_xlim(right=right)
    for value, label in ELSEWHERE:
        axes.axhline(value, color=GREY, linestyle="--", linewidth=1, zorder=1)
        axes.text(
            right,
            value,
            f"{label} {value:g},\nmeasured elsewhere",
            ha="right",
            va="bottom",
            fontsize=8,
            color="#444444",
        )
    axes.set_ylim(0, max(axes.get_ylim()[1], 0.8))
    axes.set_ylabel("µs of CPU for each event")
    axes.set_title("From the push to the answer", loc="left", fontsize=10, fontweight="bold")


def draw_push(axes, figures):
    bars(axes, figures, PUSH, ".0f")
    ratio = figures.get("push.ratio_to_escape_loop", {"median": None})["median"]
    axes.set_ylabel("ns for each event")
    comparison = "" if ratio is None else f": {ratio:.2f} times the escape loop"
    axes.set_title(f"One push{comparison}", loc="left", fontsize=10, fontweight="bold")


def picture(report):
    figure, (cpu, push) = plt.subplots(1, 2, figsize=(9.6, 4.4), width_ratios=[1.35, 1], layout="constrained")
    draw_cpu(cpu, report["figures"])
    draw_push(push, report["figures"])
    machine = report["machine"]
    figure.suptitle(
        f"What an access-log line of 126 bytes costs the process that ships it "
        f"({machine['cpu']}, {machine['cores']} cores)\n"
        "bars: medians, with the spread of the runs; thick lines: targets; red: over its target",
        fontsize=10,
    )
    return figure


def main(path_of_report, *pictures):
    report = json.loads(pathlib.Path(path_of_report).read_text())
    for path in pictures:
        # Draws a new figure for each file: saving changes a figure's layout in the last digits.
        picture(report).savefig(path, dpi=110, metadata=METADATA.get(pathlib.Path(path).suffix))


if __name__ == "__main__":
    main(*sys.argv[1:])
