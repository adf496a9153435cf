"""Draws a row of bars for each program, of what `table` holds, on a logarithmic scale."""

import re

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

matplotlib.rcParams["svg.fonttype"] = "none"
ISOLATED, OTHERS = "#2b6cb0", "#a0aec0"
ABOUT = "median in starts of plain Python (dotted line); black mark: 99th percentile; blue: isolated"

for row in table["rows"]:  # noqa: F821
    cells = row["peers"]
    measured = {name: cell for name, cell in cells.items() if "p50_ratio" in cell}
    fastest_last = sorted(measured, key=lambda name: measured[name]["p50_ratio"], reverse=True)
    names = [name for name in cells if name not in measured] + fastest_last
    if not measured:
        continue
    isolates = {peer["name"]: peer["isolates"] for peer in table["peers"]}  # noqa: F821
    figure, axes = plt.subplots(figsize=(9, 0.36 * len(names) + 1.2), layout="constrained")
    colours = [ISOLATED if isolates[name] else OTHERS for name in fastest_last]
    places = [names.index(name) for name in fastest_last]
    bars = axes.barh(places, [measured[name]["p50_ratio"] for name in fastest_last], color=colours)
    axes.bar_label(bars, [f" {measured[name]['p50_ratio']:.2f} " for name in fastest_last], label_type="center", color="white")
    tails = {names.index(name): cell["p99_ratio"] for name, cell in measured.items() if cell["p99_ratio"]}
    axes.plot(list(tails.values()), list(tails), "|", color="black", markersize=11)
    axes.set_yticks(range(len(names)), [name if name in measured else f"{name} ({', '.join(cells[name])})" for name in names])
    axes.set_xscale("log")
    axes.set_xlim(left=min(cell["p50_ratio"] for cell in measured.values()) / 3)
    axes.axvline(1, color="black", linewidth=0.8, linestyle=":")
    axes.set_title(row["program"], loc="left")
    axes.set_xlabel(ABOUT, fontsize="small")
    file = re.sub("[^a-z0-9]+", "-", row["program"].lower()).strip("-")
    figure.savefig(f"{file}.svg")
    plt.close(figure)
