"""Writes the results of the isolation bench as a table."""

HEADER = (
    f"{'scenario':<16} {'throughput':>10} {'p50':>6} {'p99':>6} {'requests':>8} {'base p99':>8} {'p99 ms':>6} "
    f"{'lost':>6} {'twice':>7} {'rejected':>9} {'pauses':>6} {'wait s':>6} {'Jain':>6} {'req/t':>6} {'late ms':>7} "
    f"{'push ms':>7} {'others':>6}  verdict"
)

LEGEND = """\
throughput, p50, p99, requests: of the healthy targets, divided by their baseline; base p99, p99 ms: the two p99s.
lost, twice, rejected: of all targets; twice: events that arrived beyond those acked as delivered; rejected: pushes.
pauses: of the whole endpoint, while it was up or not. wait, Jain, req/t: of the failing targets: the longest time in
which an event waited while its target delivered nothing; the fairness among them (1: all delivered the same during the
run); the requests of a target. With several loads it is the worst of them.
late: the host's own worst lateness; push: its longest push; others: cores that other processes kept busy."""


def number(value, form):
    return "none" if value is None else format(value, form)


def seconds(value):
    return "never" if value is None else f"{value:.2f} s"


def details(entry):
    """Returns the figures that only some scenarios have, as texts."""
    texts = []
    if "quota_used" in entry:
        texts.append(
            f"quota used {entry['quota_used']:.2f}, throttled {entry['throttled_share']:.2f}, Jain {entry['jain']:.3f}"
        )
    if "requests_while_down" in entry:
        texts.append(f"{entry['requests_while_down']} requests while down")
    if "recovery_s" in entry:
        texts.append(f"recovery {seconds(entry['recovery_s'])}")
    if "all_back_s" in entry:
        texts.append(f"every target back {seconds(entry['all_back_s'])}")
    if "caught_up_s" in entry:
        texts.append(f"caught up {seconds(entry['caught_up_s'])}")
    if "goodput" in entry:
        texts.append(f"goodput {entry['goodput']:.2f}, each byte uploaded {number(entry['uploads'], '.2f')} times")
    if "closed_idle" in entry:
        texts.append(f"{entry['closed_idle']} connections closed by the endpoint")
    if "puts_per_stream" in entry:
        texts.append(
            f"a stream: {entry['puts_per_stream']:.2f} PutLogEvents, {entry['creates_per_stream']:.2f} CreateLogStream "
            f"and {entry['throttled_creates_per_stream']:.2f} throttled ones"
        )
    if "repeats" in entry:
        texts.append(repeats_text(entry["repeats"]))
    return texts


def repeats_text(repeats):
    return f"{repeats['met']} of {repeats['runs']} met, worst p99 {number(repeats['worst_p99_ms'], '.0f')} ms"


def verdict_text(entry):
    if entry["pass"]:
        parts = ["met"]
    else:
        parts = ["VOID: " + "; ".join(entry["void"])] * bool(entry["void"])
        parts += ["MISSED: " + "; ".join(entry["reasons"])] * bool(entry["reasons"])
    return " | ".join(parts + details(entry))


def row(name, entry):
    if "own" not in entry:
        return f"{name:<16} {verdict_text(entry)}"
    own, baseline = entry["own"], entry["baseline"]
    measured = [part for part in (baseline, own) if part]
    loads = entry["loads"]
    requests = [load["requests_per_target"] for load in loads if load["requests_per_target"] is not None]
    rejected = entry["healthy_rejected"] + entry["failing_rejected"] + entry["flood_rejected"]
    base_p99 = baseline["p99_ms"] if baseline else None
    return (
        f"{name:<16} {number(entry['throughput_ratio'], '.3f'):>10} {number(entry['p50_ratio'], '.2f'):>6} "
        f"{number(entry['p99_ratio'], '.2f'):>6} {number(entry['requests_ratio'], '.2f'):>8} "
        f"{number(base_p99, '.0f'):>8} {number(own['p99_ms'], '.0f'):>6} {entry['lost']:>6} "
        f"{entry['duplicates']:>7} {rejected:>9} {entry['pauses']:>6} "
        f"{number(max((load['longest_wait_s'] for load in loads), default=None), '.1f'):>6} "
        f"{number(min((load['jain'] for load in loads), default=None), '.3f'):>6} "
        f"{number(max(requests, default=None), '.1f'):>6} "
        f"{max(part['worst_lateness_ms'] for part in measured):>7.1f} {own['worst_push_ms']:>7.1f} "
        f"{max(part['cores']['others'] for part in measured):>6.2f}  {verdict_text(entry)}"
    )
