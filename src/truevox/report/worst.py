"""Which cases to look at first."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from truevox.errors import SettingsError
from truevox.metrics.registry import definition
from truevox.report.folder import Folder, Score
from truevox.report.words import metric_title

__all__ = ["Pick", "better", "flags", "picks"]

_HIGHER = ("dice", "jaccard", "sensitivity", "precision", "specificity", "fbeta", "balanced_accuracy", "mcc")
_HIGHER += ("kappa", "ndice", "volumetric_similarity", "nsd", "boundary_iou", "cldice", "lesion_f1", "auroc")
_HIGHER += ("lesion_sensitivity", "lesion_precision", "panoptic_quality", "pq", "lesion_sq", "soft_dice")
_HIGHER += ("average_precision",)
_LOWER = ("hd", "assd", "masd", "absolute_volume_difference", "ece", "brier", "nll")
_OUTLIER = 3.0


@dataclass(frozen=True)
class Pick:
    """A case of one method and structure that deserves a picture.

    Parameters
    ----------
    method : int
        Index of the folder.
    case, output, label : str
    reasons : tuple of str
        E.g. ``"worst dice"``, ``"third worst hd95"``, ``"median dice"``.
    """

    method: int
    case: str
    output: str
    label: str
    reasons: tuple[str, ...]


def better(metric: str, definition_id: str) -> str:
    """Direction of a metric: ``higher``, ``lower``, ``zero`` or ``none``.

    A metric that this version does not know is judged by its name, so that a table of another version
    can still be sorted.

    Examples
    --------
    >>> better("dice", "dice/voxel"), better("hd95/surfel", "hd95/surfel/max")
    ('higher', 'lower')
    """
    try:
        return definition(definition_id).better
    except SettingsError:
        stem = metric.split("/")[0].split("@")[0].removesuffix("_ml").rstrip("0123456789")
        if stem in _HIGHER:
            return "higher"
        if stem in _LOWER:
            return "lower"
        return "zero" if stem.endswith("volume_difference") else "none"


def _badness(score: Score, direction: str) -> float:
    """Larger is worse; NaN where it can't be said."""
    if score.status == "failed" or direction == "none":
        return math.nan
    if direction == "higher":
        return -score.value
    return abs(score.value) if direction == "zero" else score.value


def picks(folders: Sequence[Folder], worst: int) -> list[Pick]:
    """Cases to show, the worst first: the ``worst`` of each method, structure and metric, and a median.

    Of the first metric with a direction the case at 5 % from the worst and the median are shown too, so
    that the worst can be told from the usual. The order goes by rank, then by the number of metrics that find
    the case bad: when a limit cuts the list, every method and metric keeps its very worst.

    Returns
    -------
    list of Pick
        One for each method, case and structure.
    """
    reasons: dict[tuple[int, str, str, str], list[tuple[int, str]]] = defaultdict(list)
    for number, folder in enumerate(folders):
        first: dict[tuple[str, str], str] = {}
        for (output, label, metric), scores in _groups(folder.scores).items():
            direction = better(metric, scores[0].definition)
            judged = [(_badness(one, direction), one.case) for one in scores]
            # By name where two are as bad as each other: the same tables give the same page.
            order = sorted((-bad, case) for bad, case in judged if not math.isnan(bad))
            if not order:
                continue
            leading = first.setdefault((output, label), metric) == metric
            # What is as good as the best is not among the worst; the first metric has pictures anyway.
            shown = [one for one in order if one[0] < order[-1][0]][:worst]
            texts = [f"{_ordinal(rank)}worst {metric_title(metric)}" for rank in range(len(shown))]
            alike = leading and not shown
            if alike:
                shown = order[:worst]
                texts = [_alike(metric, scores[0].definition, order[-1][0], len(order))] * len(shown)
            for rank, ((_, case), text) in enumerate(zip(shown, texts, strict=True)):
                reasons[number, case, output, label].append((rank, text))
            if leading and worst and not alike:
                for share, name in ((0.05, "5 % from the worst"), (0.5, "median")):
                    place = round(share * (len(order) - 1))
                    if place >= len(shown):
                        key = (number, order[place][1], output, label)
                        reasons[key].append((worst, f"{name} {metric_title(metric)}"))
    found = sorted(reasons.items(), key=lambda item: (min(item[1])[0], -len(item[1]), item[0][1], item[0]))
    return [Pick(*key, reasons=_by_rank(why)) for key, why in found]


def _alike(metric: str, definition_id: str, goodness: float, cases: int) -> str:
    """Why cases are shown of which none is worse than another."""
    title = metric_title(metric)
    try:
        best = definition(definition_id).best
    except SettingsError:
        best = math.nan
    if abs(goodness) == best:
        return f"perfect {title}{', as in all cases' if cases > 1 else ''}"
    return f"the only case with {title}" if cases == 1 else f"{title} the same in all cases"


def _by_rank(reasons: Sequence[tuple[int, str]]) -> tuple[str, ...]:
    return tuple(text for _, text in sorted(reasons, key=lambda one: one[0]))


def _ordinal(rank: int) -> str:
    words = ("", "second ", "third ", "fourth ", "fifth ")
    return words[rank] if rank < len(words) else f"{rank + 1}th "


def _groups(scores: Iterable[Score]) -> dict[tuple[str, str, str], list[Score]]:
    groups: dict[tuple[str, str, str], list[Score]] = defaultdict(list)
    for one in scores:
        groups[one.output, one.label, one.metric].append(one)
    return groups


def flags(folder: Folder) -> dict[tuple[str, str, str], list[str]]:
    """What is odd about a case, output and label, seen from its scores alone.

    * its prediction is empty and its reference is not, or the reverse;
    * its volume difference is more than 3 standard deviations from the mean of the cases;
    * two metrics or more rank it among the worst tenth.
    """
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    bad: dict[tuple[str, str, str], int] = defaultdict(int)
    words = {"missed": "prediction empty", "spurious": "reference empty", "failed": "failed"}
    for (output, label, metric), scores in _groups(folder.scores).items():
        for one in scores:
            key = (one.case, output, label)
            if one.status in words and words[one.status] not in found[key]:
                found[key].append(words[one.status])
        for case in _outliers(scores) if metric.startswith("volume_difference") else ():
            found[case, output, label].append("volume outlier")
        direction = better(metric, scores[0].definition)
        judged = sorted((-_badness(one, direction), one.case) for one in scores)
        judged = [pair for pair in judged if not math.isnan(pair[0])]
        for goodness, case in judged[: len(judged) // 10]:
            bad[case, output, label] += goodness < judged[-1][0]
    for key, count in bad.items():
        if count >= 2:
            found[key].append(f"poor in {count} metrics")
    return {key: words for key, words in found.items() if words}


def _outliers(scores: Sequence[Score]) -> list[str]:
    kept = [one for one in scores if not math.isnan(one.value)]
    values = np.array([one.value for one in kept])
    spread = values.std(ddof=1) if len(values) > 2 else 0.0
    if spread == 0:
        return []
    far = np.abs(values - values.mean()) > _OUTLIER * spread
    return [one.case for one, is_far in zip(kept, far, strict=True) if is_far]
