"""Metrics that are recommended: their names in sentences, and where each is legal."""

from __future__ import annotations

from dataclasses import dataclass

from truevox.errors import SettingsError
from truevox.metrics import definition

__all__ = ["LEGAL", "Entry", "computed", "entry", "legal", "stem"]


@dataclass(frozen=True)
class Entry:
    """A metric as the guideline knows it.

    Parameters
    ----------
    stem : str
        What stands before ``@`` and ``/`` in our ids.
    title : str
        Its name in a sentence.
    key : str
        Its key in the lists of :data:`LEGAL`.
    elsewhere : str
        How to get it, where ``truevox evaluate`` may have no such metric per case.
    """

    stem: str
    title: str
    key: str
    elsewhere: str = ""


_IMAGE = "a metric of whole images: scikit-learn computes it from the classes or scores of all images"
_OVERLAP = {"dsc", "fbeta", "cldice", "iou"}
_SURFACE = {"assd", "masd", "hd", "hd_perc", "nsd", "boundary_iou"}
_OBJECTS = {"fbeta", "x@y", "ap", "froc"}
_OURS = {"avd"}

LEGAL: dict[str, frozenset[str]] = {
    "classification": frozenset(
        {"auroc", "ap", "x@y", "fbeta", "accuracy", "ba", "ec", "mcc", "wck", "lr+", "nb"}
    )
    | {"bs", "rbs", "ls", "nll", "ece", "cwece", "ece_kde", "kce"},
    "detection": frozenset(_OBJECTS | {"sensitivity"}),
    # Volumes, and calibration by voxels, are additions of ours.
    "semantic": frozenset(_OVERLAP | _SURFACE | _OURS | {"ece", "bs"}),
    "instance": frozenset(_OVERLAP | _SURFACE | _OBJECTS | _OURS | {"pq"}),
}
"""Metrics that fit a category, by their keys in MetricsReloaded (Project MONAI)."""

_ENTRIES = (
    Entry("dice", "Dice coefficient", "dsc"),
    Entry("fbeta", "F-beta", "fbeta"),
    Entry("cldice", "centreline Dice", "cldice"),
    Entry("nsd", "normalised surface distance (surface Dice)", "nsd"),
    Entry("masd", "mean average surface distance", "masd"),
    Entry("hd", "Hausdorff distance", "hd"),
    Entry("hd95", "95 % Hausdorff distance", "hd_perc"),
    Entry("absolute_volume_difference_ml", "absolute volume difference", "avd"),
    Entry("ece", "expected calibration error", "ece"),
    Entry("brier", "Brier score", "bs"),
    Entry("lesion_f1", "F1 of objects", "fbeta"),
    Entry(
        "lesion_fbeta",
        "F-beta of objects",
        "fbeta",
        "from matched, missed and spurious objects in lesions.csv",
    ),
    Entry(
        "lesion_average_precision",
        "average precision of objects",
        "ap",
        "a metric of all images together: from the column score of lesions.csv",
    ),
    Entry(
        "lesion_froc",
        "FROC: sensitivity against false positives per image",
        "froc",
        "a metric of all images together: from the column score of lesions.csv",
    ),
    Entry(
        "lesion_precision_at",
        "precision of objects at a sensitivity",
        "x@y",
        "a metric of all images together: from the column score of lesions.csv",
    ),
    Entry(
        "lesion_sensitivity_at",
        "sensitivity to objects at a precision",
        "x@y",
        "a metric of all images together: from the column score of lesions.csv",
    ),
    Entry("image_expected_cost", "expected cost", "ec", _IMAGE),
    Entry("image_balanced_accuracy", "balanced accuracy", "ba", _IMAGE),
    Entry("image_weighted_kappa", "weighted kappa", "wck", _IMAGE),
    Entry("image_mcc", "Matthews correlation coefficient", "mcc", _IMAGE),
    Entry("image_accuracy", "accuracy", "accuracy", _IMAGE),
    Entry("image_fbeta", "F-beta per class", "fbeta", _IMAGE),
    Entry("image_likelihood_ratio", "positive likelihood ratio per class", "lr+", _IMAGE),
    Entry("image_sensitivity_at", "sensitivity at a specificity or precision", "x@y", _IMAGE),
    Entry("image_specificity_at", "specificity at a sensitivity", "x@y", _IMAGE),
    Entry("image_auroc", "area under the ROC curve", "auroc", _IMAGE),
    Entry("image_average_precision", "average precision", "ap", _IMAGE),
    Entry("image_brier", "Brier score", "bs", _IMAGE),
    Entry("image_ece", "expected calibration error", "ece", _IMAGE),
)
_BY_STEM = {one.stem: one for one in _ENTRIES}


def stem(name: str) -> str:
    """What stands before ``@`` and ``/``.

    Examples
    --------
    >>> stem("nsd@1mm/surfel")
    'nsd'
    """
    return name.partition("/")[0].partition("@")[0]


def entry(name: str) -> Entry:
    """What is known of a metric.

    Raises
    ------
    KeyError
        If it is in no rule.
    """
    return _BY_STEM[stem(name)]


def legal(name: str, category: str) -> bool:
    """Whether a metric fits problems of a category."""
    return entry(name).key in LEGAL[category]


def computed(name: str) -> bool:
    """Whether ``truevox evaluate`` has this metric."""
    if not entry(name).elsewhere:
        return True
    try:
        definition(name)
    except SettingsError:
        return False
    return True
