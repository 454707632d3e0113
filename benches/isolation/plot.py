#!/usr/bin/env python3
"""Draws delivery latency over time from the isolation bench's results: plot.py RESULTS.json PICTURE...

Each scenario has a panel, all with the same axes. Its line is drawn in colour over the grey line of its baseline, if it
has one. Isolation holds where the two lines coincide. The suffix of a picture's name selects its format.
"""

import json
import math
import pathlib
import sys

import matplotlib

matplotlib.use("Agg")  # needs no display
# The same results give the same file, byte for byte.
matplotlib.rcParams.update({"svg.hashsalt": "isolation", "font.family": "sans-serif", "font.size": 9})

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib import ticker  # noqa: E402

COLUMNS = 3
# From Okabe and Ito's palette, whose colours are distinct for every kind of colour vision.
BLUE, VERMILION, GREY, BAND = "#0072B2", "#D55E00", "#888888", "#F0E442"
DOWN_WORDS = {"all_slow": "answers slow", "all_503": "answers 503"}
METADATA = {".svg": {"Date": None}}


def points(own):
    series = own["p99_ms_series"]
    bucket = series["bucket_s"]
    seconds = [(index + 0.5) * bucket for index in range(len(series["values"]))]
    return seconds, [math.nan if value is None else value for value in series["values"]]


def caption(entry):
    """Returns the judged figures of a scenario as text."""

    def number(value, form):
        return "none" if value is None else format(value, form)

    if "jain" in entry:
        used, throttled = entry["quota_used"], entry["throttled_share"]
        return f"quota used {used:.2f}, throttled {throttled:.2f}, Jain {entry['jain']:.3f}"
    for key, text in {"recovery_s": "recovery after", "all_back_s": "every target back after"}.items():
        if key in entry:
            return f"{entry['requests_while_down']} requests while down, {text} {number(entry[key], '.2f')} s"
    if "caught_up_s" in entry:
        return f"caught up {number(entry['caught_up_s'], '.2f')} s after the end"
    if "goodput" in entry:
        return f"goodput {entry['goodput']:.2f}, each byte uploaded {number(entry['uploads'], '.2f')} times"
    if entry["baseline"] is None:
        return f"p99 {number(entry['own']['p99_ms'], '.0f')} ms"
    return f"throughput × {number(entry['throughput_ratio'], '.3f')}, p99 × {number(entry['p99_ratio'], '.2f')}"


def draw(axes, name, entry):
    # The title says it too; the colour only repeats it.
    verdict = "met" if entry["pass"] else "void" if entry["void"] else "missed"
    colour = BLUE if entry["pass"] else VERMILION
    if entry["baseline"]:
        axes.plot(*points(entry["baseline"]), color=GREY, linewidth=2.5, alpha=0.7, label="its healthy baseline")
    axes.plot(*points(entry["own"]), color=colour, linewidth=1.3, label="scenario")
    if "down_s" in entry:
        axes.axvspan(*entry["down_s"], color=BAND, alpha=0.35, linewidth=0)
        axes.text(
            sum(entry["down_s"]) / 2,
            0.03,
            DOWN_WORDS.get(name, "endpoint down"),
            transform=axes.get_xaxis_transform(),
            ha="center",
            fontsize=8,
        )
    axes.set_title(f"{name}: {verdict}", loc="left", fontsize=10, fontweight="bold", color=colour, pad=16)
    pauses = f", {entry['pauses']} pauses" if entry["pauses"] else ""
    below = f"{caption(entry)}, lost {entry['lost']:,}{pauses}"
    axes.text(0, 1.03, below, transform=axes.transAxes, fontsize=8, color="#333333")


def finish(axes, begin):
    axes.set_yscale("log")
    units = ticker.FuncFormatter(lambda ms, _: f"{ms / 1000:g} s" if ms >= 1000 else f"{ms:g} ms")
    axes.yaxis.set_major_formatter(units)
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    axes.grid(True, which="major", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axvspan(0, begin, color="#EEEEEE", linewidth=0, zorder=0)
    axes.set_xlim(left=0)


def picture(results):
    scenarios = {name: entry for name, entry in results["scenarios"].items() if "own" in entry}
    columns = min(COLUMNS, len(scenarios))
    rows = math.ceil(len(scenarios) / columns)
    size = (4.2 * columns + 0.6, 2.35 * rows + 1.1)
    figure, grid = plt.subplots(rows, columns, figsize=size, sharey=True, squeeze=False, layout="constrained")
    panels = list(grid.flat)
    for axes, (name, entry) in zip(panels, scenarios.items(), strict=False):
        draw(axes, name, entry)
        finish(axes, entry["own"]["p99_ms_series"]["begin_s"])
    for axes in panels[len(scenarios) :]:
        axes.set_visible(False)
    longest = max(points(entry["own"])[0][-1] for entry in scenarios.values())
    for index, axes in enumerate(panels[: len(scenarios)]):
        axes.set_xlim(0, longest)
        if index + columns >= len(scenarios):
            axes.set_xlabel("seconds since the host began to push")
        if index % columns == 0:
            axes.set_ylabel("p99 latency")
    values = [
        value
        for entry in scenarios.values()
        for part in ("baseline", "own")
        if entry[part]
        for value in points(entry[part])[1]
        if not math.isnan(value)
    ]
    panels[0].set_ylim(min(100, *values) * 0.8, max(1000, *values) * 1.5)
    healthy = results["healthy"]
    figure.suptitle(
        f"Delivery latency of {healthy['targets']} healthy targets, {healthy['events_per_s']:,} events/s in all, "
        f"concurrency {results['concurrency']}, unless scenarios.py says otherwise\n"
        "99th percentile of push to delivered, by half seconds of the push\n"
        "grey line: the healthy baseline of the same run; shaded: warm-up",
        fontsize=10,
    )
    return figure


def main(path_of_results, *pictures):
    results = json.loads(pathlib.Path(path_of_results).read_text())
    if not any("own" in entry for entry in results["scenarios"].values()):
        sys.exit("plot.py: no scenario was measured to its end")
    figure = picture(results)
    for path in pictures:
        figure.savefig(path, dpi=110, metadata=METADATA.get(pathlib.Path(path).suffix))


if __name__ == "__main__":
    main(*sys.argv[1:])
