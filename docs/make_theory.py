"""Figures of the theory, drawn when the documentation is built, so that they are those of the code."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from truevox import theory
from truevox.figures import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, tidy, write_figure

WAYS = ((0.1, SKY), (0.3, BLUE), (0.5, BLACK), (0.7, ORANGE), (0.9, VERMILION))


def end(axis: Axes, x: float, y: float, text: str, colour: str, dx: float = 5, dy: float = 0) -> None:
    """A label at the end of a line, instead of a legend."""
    axis.annotate(
        text, (x, y), xytext=(dx, dy), textcoords="offset points", color=colour, va="center", fontsize=9,
        bbox={"facecolor": "white", "alpha": 0.75, "pad": 0.5, "linewidth": 0},
    )  # fmt: skip


def risks(path: Path) -> None:
    """Expected loss of an uncertain block beside a certain one, against its prediction."""
    figure = Figure(figsize=(11.5, 3.9), layout="constrained")
    t = np.linspace(0, 1, 201)
    panels = (
        ("soft Dice: best at 0 or 1", "dice"),
        ("squares below (V-Net): between", "squared_dice"),
        ("cross-entropy: best at p", "cross_entropy"),
    )
    for axis, (title, loss) in zip(figure.subplots(1, 3), panels, strict=True):
        for p, colour in WAYS:
            law = theory.IndependentLaw([1, 1], [1, p])
            inside = t[(t > 0.004) & (t < 0.996)] if loss == "cross_entropy" else t
            values = np.array([theory.risk([1, x], law, loss) for x in inside])
            axis.plot(inside, values, color=colour, linewidth=1.8)
            best = theory.optimum(law=law, loss=loss)
            lows = {best.map[1]} if p != 0.5 or loss != "dice" else {0.0, 1.0}
            for low in lows:
                axis.plot(
                    low, theory.risk([1, low], law, loss), "o", color=colour, markersize=7, clip_on=False
                )
            if loss == "cross_entropy":
                end(axis, p, values.min(), f"p = {p:g}", colour, -14, -13)
            else:
                end(axis, 1, values[-1], f"p = {p:g}", colour, 8)
        axis.set(xlabel="prediction t of the uncertain block", title=title, xlim=(0, 1))
        if loss == "cross_entropy":
            axis.set_ylim(0, 1.4)
        axis.set_ylabel("expected loss")
        tidy(axis)
    write_figure(figure, path)


def biases(path: Path) -> None:
    """Bias of the optimal volume against the uncertainty of the block."""
    figure = Figure(figsize=(11.5, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    p = np.linspace(0.002, 0.998, 499)
    for n, colour in ((1, VERMILION), (2, ORANGE), (8, PURPLE), (10_000, BLUE)):
        flip = theory.flip_probability(1, n)
        # Two lines and the jump between them: nothing is drawn where no probability leads.
        below, above = np.append(p[p < flip], flip), np.insert(p[p > flip], 0, flip)
        left.plot(below, -below, color=colour, linewidth=2)
        left.plot(above, 1 - above, color=colour, linewidth=2)
        left.plot([flip, flip], [-flip, 1 - flip], color=colour, linewidth=1, linestyle=":")
    for n, colour, y in ((1, VERMILION, 0.62), (2, ORANGE, 0.72), (8, PURPLE, 0.82), (10_000, BLUE, 0.92)):
        flip = theory.flip_probability(1, n)
        name = "1 block" if n == 1 else f"{n} parts" if n < 100 else "very many parts"
        left.text(0.98, y, f"{name}: flip at {flip:.3f}", color=colour, fontsize=9, va="center", ha="right")
    left.axhline(0, color=GREEN, linewidth=2)
    left.text(0.03, 0.03, "cross-entropy", color=GREEN, va="bottom", fontsize=9)
    left.set(xlim=(0, 1), ylim=(-0.6, 1), xlabel="probability p of the uncertain block")
    left.set_ylabel("volume bias (sizes of the block)")
    left.set_title("Soft Dice, a block beside certain foreground as large")
    ratio = np.linspace(0.2, 6, 30)
    ball = [_ball(w) for w in ratio]
    for k, (colour, name) in enumerate(((VERMILION, "soft Dice"), (BLUE, "mask at 1/2"))):
        values = 100 * np.array([one[k] for one in ball])
        right.plot(ratio / 10, values, color=colour, linewidth=2)
        end(right, 0.6, values[-1], name, colour)
    right.axhline(0, color=GREEN, linewidth=2)
    end(right, 0.6, 0, "cross-entropy", GREEN)
    right.set(xlim=(0, 0.6), xlabel="width of the blur w / radius R")
    right.set_ylabel("volume bias (% of the expected volume)")
    right.set_title("A blurred ball, p(r) = 1 / (1 + exp((r - R) / w))")
    for axis in (left, right):
        tidy(axis)
    write_figure(figure, path)


def _ball(width: float) -> tuple[float, float]:
    """Relative bias of soft Dice and of the mask at 1/2 on a ball of radius 10."""
    edges = np.linspace(0, 10 + 40 * width, 80_001)
    p = 1 / (1 + np.exp(((edges[1:] + edges[:-1]) / 2 - 10) / width))
    best = theory.optimum(np.diff(edges**3), p, "many")
    return best.relative_bias, best.half_volume / best.expected_volume - 1


def signs(path: Path) -> None:
    """The same probabilities under two laws: the risk between leaving four regions out and taking them."""
    figure = Figure(figsize=(11.5, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    t = np.linspace(0, 1, 201)
    sizes, p = (8, 2, 2, 2, 2), (1, 0.45, 0.45, 0.45, 0.45)
    for name, colour in (("independent", BLUE), ("nested", VERMILION)):
        law = (theory.IndependentLaw if name == "independent" else theory.NestedLaw)(sizes, p)
        values = [theory.expected_score([1, x, x, x, x], law) for x in t]
        left.plot(8 + 8 * t, values, color=colour, linewidth=2)
        best = theory.optimum(law=law)
        left.plot(best.volume, best.expected_score, "o", color=colour, markersize=8, clip_on=False)
        end(left, 16, values[-1], f"{name}:\nbias {best.bias:+.1f}", colour, 8)
    left.axvline(11.6, color=GREEN, linewidth=1.5)
    left.text(11.75, 0.849, "expected volume 11.6", color=GREEN, fontsize=9, va="top")
    left.set(xlabel="volume of the prediction", ylabel="expected Dice", xlim=(8, 16))
    left.set_title("Sizes 8, 2, 2, 2, 2; p = 1, .45, .45, .45, .45")
    law = theory.exclusive([0.5, 1], [0.285, 0.715])
    values = [theory.expected_score([x, 1], law) for x in t]
    right.plot(t, values, color=PURPLE, linewidth=2)
    best = theory.optimum(law=law)
    right.plot(best.map[0], best.expected_score, "o", color=PURPLE, markersize=8)
    label = f"t = {best.map[0]:.3f}, E[D] = {best.expected_score:.4f}"
    end(right, best.map[0], best.expected_score, label, PURPLE, 0, 10)
    right.set(xlabel="prediction t of the smaller region", ylabel="expected Dice", xlim=(0, 1))
    right.set_ylim(top=0.7178)
    right.set_title("Exclusive regions, sizes .5 and 1: an optimum inside")
    for axis in (left, right):
        tidy(axis)
    write_figure(figure, path)


def gradients(path: Path) -> None:
    """What smoothing and the sets of voxels do to the gradient of the Dice loss."""
    figure = Figure(figsize=(11.5, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    eps = np.logspace(-3, 5, 161)
    for volume, colour in ((10, SKY), (100, BLUE), (1000, VERMILION)):
        push = theory.empty_push(volume, eps)
        left.plot(eps, push, color=colour, linewidth=2)
        left.plot(volume, push.max(), "o", color=colour)
        end(left, eps[0], push[0], f"V = {volume}", colour, 6, 36)
    left.set(xscale="log", yscale="log", ylim=(1e-9, 1e-1), xlim=(1e-3, 1e5))
    left.set(xlabel="smoothing of numerator and denominator (voxels)", ylabel="gradient of every voxel")
    left.set_title(
        "An image without the class, V voxels predicted:\nlargest where smoothing equals the volume"
    )
    truth = np.zeros((2, 1, 1000))
    truth[0, 0, :100] = 1
    t = np.full(truth.shape, 0.1)
    names, kinds = ["I, tiny", "I, 100", "BI, tiny"], [("I", 1e-7), ("I", 100.0), ("BI", 1e-7)]
    shown = (
        ("labelled: foreground", BLUE, lambda f: f.gradient[0, 0, 0]),
        ("labelled: background", SKY, lambda f: f.gradient[0, 0, -1]),
        ("empty image", VERMILION, lambda f: f.gradient[1, 0, 0]),
    )
    for k, (over, smooth) in enumerate(kinds):
        field = theory.dice_field(truth, t, over, smooth, smooth)  # type: ignore[arg-type]
        for place, (name, colour, of) in enumerate(shown):
            value = 1e3 * of(field)
            x = k + 0.27 * (place - 1)
            right.bar(x, value, 0.25, color=colour, label=name if k == 0 else None)
            up = value >= 0
            text = f"{value:.2g}" if abs(value) > 1e-6 else "0"
            right.text(
                x,
                value + (0.06 if up else -0.06),
                text,
                ha="center",
                va="bottom" if up else "top",
                fontsize=8,
            )
    right.axhline(0, color=GREY, linewidth=1)
    right.set_xticks(range(3), [f"Phi = {name}" for name in names])
    right.set_ylabel("gradient (1/1000); negative raises t")
    right.set_title(
        "One labelled and one empty image of 1000 voxels,\nt = 0.1 everywhere, 100 voxels labelled"
    )
    right.margins(y=0.14)
    right.legend(frameon=False, fontsize=9, loc="lower center")
    for axis in (left, right):
        tidy(axis)
    right.grid(axis="x", visible=False)
    write_figure(figure, path)


FIGURES = {"risk": risks, "bias": biases, "signs": signs, "gradients": gradients}


def write(folder: Path) -> None:
    """One PNG per figure."""
    folder.mkdir(exist_ok=True)
    for name, draw in FIGURES.items():
        draw(folder / f"{name}.png")
