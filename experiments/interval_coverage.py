"""How often an interval of 95 % holds: means, proportions and limits of agreement of few patients.

    python experiments/interval_coverage.py

Draws cohorts of 3 to 50 patients whose truth is known, and counts how often each method's interval holds it:
scores, with 10 % of missed cases, volumes; one scan of a patient, or several that are alike; lesions. Ends
with status 1 if what TrueVox shows covers less than its documentation says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t

from truevox.evaluation.statistics.agreement import bland_altman
from truevox.evaluation.statistics.by_patient import Interval, mean_interval, proportion_interval
from truevox.evaluation.statistics.intervals import Resamples, bootstrap, mean_of
from truevox.files import software, write_csv, write_json

DOCS = Path(__file__).resolve().parents[1] / "docs" / "experiments"
SIZES = (3, 4, 5, 7, 10, 15, 20, 30, 50)
COLUMNS = ("statistic", "values", "scans", "patients", "method", "coverage", "median_width", "without")
Sample = tuple[NDArray[np.float64], NDArray[np.intp]]
Rng = np.random.Generator


@dataclass(frozen=True)
class Law:
    """What is drawn, and its mean.

    Parameters
    ----------
    name : str
    mean : float
    patient : function of (rng, P) to (P,)
        The level of each patient.
    spread : float
        Standard deviation of the scans of a patient around it.
    low, high : float
        Range of the values.
    """

    name: str
    mean: float
    patient: Callable[[Rng, int], NDArray[np.float64]]
    spread: float = 0.0
    low: float = -np.inf
    high: float = np.inf


def missed(rng: Rng, n: int) -> NDArray[np.float64]:
    return rng.beta(12, 2, n) * (rng.random(n) > 0.1)


LAWS = (
    Law("normal", 0.0, lambda rng, n: rng.normal(0, 1, n), 0.5),
    Law("Dice, beta(12, 2)", 12 / 14, lambda rng, n: rng.beta(12, 2, n), 0.0, 0.0, 1.0),
    Law("Dice, 10 % missed", 0.9 * 12 / 14, missed, 0.0, 0.0, 1.0),
    Law("volumes, lognormal", float(np.exp(0.5)), lambda rng, n: rng.lognormal(0, 1, n)),
)
SCANS: dict[str, Callable[[Rng, int], NDArray[np.intp]]] = {
    "one each": lambda rng, n: np.ones(n, np.intp),
    "1 to 10 each": lambda rng, n: np.minimum(rng.geometric(0.3, n), 10),
}


def student(x: NDArray[np.float64], who: NDArray[np.intp], law: Law) -> Interval:
    """Of the means of the patients."""
    means = np.bincount(who, x) / np.bincount(who)
    reach = t.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means))
    return Interval(means.mean(), means.mean() - reach, means.mean() + reach)


def percentile(x: NDArray[np.float64], who: NDArray[np.intp], law: Law) -> Interval:
    return bootstrap([mean_of(x)], Resamples(who, 1000))[0]


def bca(x: NDArray[np.float64], who: NDArray[np.intp], law: Law) -> Interval:
    return bootstrap([mean_of(x)], Resamples(who, 1000), method="bca")[0]


def by_scan(x: NDArray[np.float64], who: NDArray[np.intp], law: Law) -> Interval:
    """As if every scan were a patient."""
    return mean_interval(x, low=law.low, high=law.high)


def shown(x: NDArray[np.float64], who: NDArray[np.intp], law: Law) -> Interval:
    return mean_interval(x, who, low=law.low, high=law.high)


METHODS = {"TrueVox": shown, "Student": student, "percentile": percentile, "BCa": bca, "by scan": by_scan}
SLOW = ("percentile", "BCa")


def means(rng: Rng, count: int) -> list[dict[str, Any]]:
    rows = []
    for law in LAWS:
        for scans, sizes in SCANS.items():
            for n in SIZES:
                for name, method in METHODS.items():
                    if scans == "one each" and name == "by scan":
                        continue
                    found = []
                    for _ in range(count // 3 if name in SLOW else count):
                        who = np.repeat(np.arange(n), sizes(rng, n))
                        x = law.patient(rng, n)[who] + law.spread * rng.normal(size=len(who))
                        found.append(method(x, who, law))
                    rows.append(row("mean", law.name, scans, n, name, found, law.mean))
    return rows


def proportions(rng: Rng, count: int) -> list[dict[str, Any]]:
    """Sensitivity to lesions, 1 to 10 of a patient, whose own sensitivity is beta distributed."""
    rows = []
    for p in (0.5, 0.8, 0.95):
        for n in SIZES:
            found: dict[str, list[Interval]] = {"TrueVox": [], "by lesion": []}
            for _ in range(count):
                whole = np.minimum(rng.geometric(0.3, n), 10)
                part = rng.binomial(whole, rng.beta(2 * p, 2 * (1 - p), n))
                found["TrueVox"].append(proportion_interval(part, whole))
                single = np.repeat([1.0, 0.0], [part.sum(), (whole - part).sum()])
                found["by lesion"].append(proportion_interval(single))
            rows += [
                row("proportion", f"p = {p}", "1 to 10 lesions each", n, k, v, p) for k, v in found.items()
            ]
    return rows


def limits(rng: Rng, count: int) -> list[dict[str, Any]]:
    """Upper limit of agreement of normal differences, within patients and between them."""
    rows = []
    for scans, sizes in SCANS.items():
        for n in SIZES:
            found = []
            for _ in range(count):
                who = np.repeat(np.arange(n), sizes(rng, n))
                d = rng.normal(0, 1, n)[who] + 0.7 * rng.normal(size=len(who))
                found.append(bland_altman(d, 0 * d, patients=who).upper)
            truth = 1.96 * float(np.hypot(1, 0.7))
            rows.append(row("upper limit of agreement", "normal", scans, n, "TrueVox", found, truth))
    return rows


def row(
    statistic: str, values: str, scans: str, n: int, method: str, found: Sequence[Interval], truth: float
) -> dict[str, Any]:
    """Coverage among the intervals that are shown; a cohort without one is counted apart."""
    kept = [one for one in found if not np.isnan(one.low)]
    held = np.mean([one.low <= truth <= one.high for one in kept])
    width = np.median([one.high - one.low for one in kept])
    entries = (statistic, values, scans, n, method, round(float(held), 4), round(float(width), 4))
    return dict(zip(COLUMNS, (*entries, len(found) - len(kept)), strict=True))


CLAIMS = {
    "normal": {3: 0.92, 10: 0.92}, "Dice, beta(12, 2)": {3: 0.91, 10: 0.91}, "Dice, 10 % missed": {30: 0.86},
    "volumes, lognormal": {10: 0.83, 30: 0.86},
}  # fmt: skip
"""What docs/intervals.md promises from so many patients on, less the error of the simulation."""


def broken(rows: Sequence[dict[str, Any]]) -> list[str]:
    out = []
    for one in rows:
        if one["statistic"] != "mean" or one["method"] != "TrueVox":
            continue
        least = max((v for n, v in CLAIMS[one["values"]].items() if n <= one["patients"]), default=0.0)
        if one["coverage"] < least:
            out.append(f"{one['values']}, {one['scans']}, {one['patients']}: {one['coverage']} < {least}")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--out", type=Path, default=DOCS, help="folder of the table (docs/experiments)")
    made.add_argument("--count", type=int, default=1000, help="cohorts of each kind (1000)")
    made.add_argument("--seed", type=int, default=0)
    given = made.parse_args(argv)
    started, rng = time.perf_counter(), np.random.default_rng(given.seed)
    rows = means(rng, given.count) + proportions(rng, given.count) + limits(rng, given.count)
    write_csv(given.out / "interval_coverage.csv", rows, COLUMNS)
    record = {"software": software(), "count": given.count, "seed": given.seed}
    record |= {"laws": [{k: v for k, v in asdict(law).items() if k != "patient"} for law in LAWS]}
    write_json(
        given.out / "interval_coverage.json", record | {"seconds": round(time.perf_counter() - started)}
    )
    failed = broken(rows)
    print("\n".join(failed) if failed else f"{len(rows)} rows; what is promised holds.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
