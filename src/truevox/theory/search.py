"""Where an expected loss is least: exactly where theory allows, else among hard maps and from many starts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

from truevox.theory.criteria import Criterion, Ratio
from truevox.theory.laws import AverageLaw, Law
from truevox.theory.risk import OfTrained, slope, values

__all__ = ["by_averages", "by_corners", "by_filling", "polished", "snapped"]

Floats = NDArray[np.float64]
_GRID = 256
_ALL_CORNERS = 12
_MANY = 4096
_SNAP = 1e-6
_CELLS = 2**22


def snapped(t: Floats) -> Floats:
    """The prediction with values next to 0 and 1 put there."""
    return np.where(t < _SNAP, 0.0, np.where(t > 1 - _SNAP, 1.0, t))


def polished(start: Floats, law: Law, criterion: Criterion) -> Floats:
    """The local optimum in [0, 1]^K next to a start."""
    found = minimize(
        lambda t: float(values(t[None], law, criterion)[0]),
        start,
        jac=lambda t: slope(t, law, criterion),
        method="L-BFGS-B",
        bounds=[(0.0, 1.0)] * len(start),
        options={"ftol": 1e-16, "gtol": 1e-11, "maxiter": 500},
    )
    return snapped(np.clip(found.x, 0, 1))


# ---- a numerator linear in t over a denominator that only its volume enters ---------------------------


def by_filling(law: Law, criterion: Ratio, fill: tuple[float, float, float]) -> Floats:
    """Candidates (N, K), the optimum among them, where the score is linear in t once its volume is given.

    Then the best prediction of volume T takes regions in order of ``E[y / (T + V)]`` until T is reached,
    the last one in part: a search in one variable finds the optimum under any law.
    """
    sizes, total = law.sizes, law.total
    likely = np.cumsum(sizes[np.argsort(-law.probabilities, kind="stable")])
    # Of very many regions the score is smooth in the volume: fewer looks find the same peak.
    grid, peaked, exact = (_GRID, 6, 1e-13) if len(sizes) <= _MANY else (_GRID // 4, 2, 1e-9)
    prefixes = likely[:: max(1, len(likely) // (2 * grid))]
    volumes = np.unique(np.concatenate([np.linspace(0, total, grid + 1)[1:], prefixes, [total]]))
    step = max(1, _CELLS // len(sizes))
    scores = np.concatenate(
        [_filled(volumes[k : k + step], law, criterion, fill)[0] for k in range(0, len(volumes), step)]
    )
    padded = np.concatenate([[-np.inf], scores, [-np.inf]])
    peaks = np.flatnonzero((scores >= padded[:-2]) & (scores >= padded[2:]))
    best = peaks[np.argsort(-scores[peaks], kind="stable")][:peaked]
    chosen = [volumes[best]]
    bounds = np.concatenate([[0.0], volumes, [total]])
    for k in best:
        found: Any = minimize_scalar(
            lambda v: -float(_filled(np.array([v]), law, criterion, fill)[0][0]),
            bounds=(max(float(bounds[k]), 1e-12 * total), float(bounds[k + 2])),
            method="bounded",
            options={"xatol": exact * total},
        )
        chosen.append(np.array([found.x]))
    level = scores.max() - 1e-11
    chosen.append(volumes[scores >= level])
    maps = snapped(_filled(np.unique(np.concatenate(chosen)), law, criterion, fill)[1])
    return np.concatenate([maps, np.floor(maps), np.ceil(maps), np.zeros((1, len(sizes)))])


def _filled(
    volumes: Floats, law: Law, criterion: Ratio, fill: tuple[float, float, float]
) -> tuple[Floats, Floats]:
    """Best scores (N,) of predictions with given volumes (N,) above 0, and the predictions (N, K)."""
    n, a, b = fill
    inverse, density = law.inverse((a * volumes + criterion.smooth_dr) / b)
    order = np.argsort(-density, axis=1, kind="stable")
    size = law.sizes[order]
    taken = np.clip((volumes[:, None] - np.cumsum(size, axis=1) + size) / size, 0, 1)
    t = np.empty_like(taken)
    np.put_along_axis(t, order, taken, axis=1)
    return ((n * t * density) @ law.sizes + criterion.smooth_nr * inverse) / b, t


# ---- ratios of expectations ---------------------------------------------------------------------------


def by_averages(law: AverageLaw, criterion: Ratio) -> Floats:
    """The optimum, smallest and largest where several tie, of a ratio of expectations (N, K).

    ``above / below`` is largest where ``above - score * below`` is, which is a sum over regions: each is
    optimal alone, and the score follows (Dinkelbach, 1967).
    """
    ones = np.ones((1, len(law.sizes)))
    score = float(law.ratio(ones, criterion)[0])
    for _ in range(100):
        best = _each(law, criterion, score)
        reached = float(law.ratio(best[None], criterion)[0])
        if reached <= score + 1e-16:
            break
        score = reached
    candidates = [_each(law, criterion, score), np.zeros(len(law.sizes))]
    if criterion.linear:
        gain = _gain(law, criterion, score, ones[0]) - _gain(law, criterion, score, 0 * ones[0])
        candidates += [(gain > 1e-12).astype(float), (gain >= -1e-12).astype(float)]
    return np.array(candidates)


def _gain(law: AverageLaw, criterion: Ratio, score: float, t: Floats) -> Floats:
    above, below = law.parts(t, criterion)
    return above - score * below


def _each(law: AverageLaw, criterion: Ratio, score: float) -> Floats:
    """Best prediction of every region, each for itself: on a grid, then between its neighbours."""

    def gain(t: Floats) -> Floats:
        return _gain(law, criterion, score, t)

    if criterion.linear:
        zero, one = np.zeros(len(law.sizes)), np.ones(len(law.sizes))
        return np.where(gain(one) > gain(zero), 1.0, 0.0)
    # A soft label has its kink where the prediction equals it.
    grid = np.concatenate([np.linspace(0, 1, 65)[:, None] + 0 * law.probabilities, [law.probabilities]])
    t = np.take_along_axis(grid, np.array([gain(g) for g in grid]).argmax(0)[None], 0)[0]
    wide = 1 / 64
    golden = (np.sqrt(5) - 1) / 2
    low, high = np.maximum(t - wide, 0), np.minimum(t + wide, 1)
    for _ in range(60):
        one, two = high - golden * (high - low), low + golden * (high - low)
        left = gain(one) >= gain(two)
        low, high = np.where(left, low, one), np.where(left, two, high)
    middle = (low + high) / 2
    return snapped(np.where(gain(middle) > gain(t) + 1e-15, middle, t))


# ---- all others ---------------------------------------------------------------------------------------


def by_corners(law: Law, criterion: Criterion, starts: int = 8) -> Floats:
    """Candidates (N, K): hard maps (all of few regions, else the most probable ones and what flips make of
    them), and the local optima next to the best of them and to random starts.
    """
    count = len(law.sizes)

    def score(maps: Floats) -> Floats:
        return values(maps, law, criterion)

    few = count <= (6 if isinstance(criterion, OfTrained) else _ALL_CORNERS)
    if few:
        corners = np.array(list(itertools.product((0.0, 1.0), repeat=count)))
    else:
        corners = np.concatenate([_prefixes(law.probabilities), _prefixes(law.probabilities * law.sizes)])
    losses = score(corners)
    ranked = corners[np.argsort(losses, kind="stable")]
    best = ranked[:4] if few else np.array([_flipped(one, score) for one in ranked[:2]])
    rng = np.random.default_rng(0)
    middle = np.stack([np.full(count, 0.5), np.clip(law.probabilities, 0.01, 0.99)])
    # From a corner itself no gradient leads into the box where its slope points outwards.
    begun = np.concatenate([np.clip(best, 0.02, 0.98), middle, rng.uniform(0, 1, (starts, count))])
    made = np.array([polished(one, law, criterion) for one in begun])
    tied = ranked[np.sort(losses) <= losses.min() + 1e-11]
    return np.concatenate([best, tied, made, np.round(made)])


def _prefixes(worth: Floats) -> Floats:
    """Hard maps of the most worthy regions, 0 to K of them; at most a few hundred."""
    order = np.argsort(-worth, kind="stable")
    counts = np.unique(np.linspace(0, len(worth), min(len(worth), _GRID) + 1).astype(int))
    rank = np.empty(len(worth), dtype=int)
    rank[order] = np.arange(len(worth))
    return (rank[None] < counts[:, None]).astype(float)


def _flipped(start: Floats, score: Callable[[Floats], Floats], most: int = 512) -> Floats:
    """The hard map that single flips lead to; of very many regions, the start."""
    best, loss = start, float(score(start[None])[0])
    while len(start) <= most:
        others = np.abs(best[None] - np.eye(len(start)))
        losses = score(others)
        if losses.min() >= loss - 1e-13:
            break
        best, loss = others[losses.argmin()], float(losses.min())
    return best
