"""The rules as tables: which answers ask for which metric, and why.

In a *slot* the first rule that holds decides. Conditions are those of
:func:`truevox.evaluation.recommend.conditions.holds`; categories are initials: classification, detection,
semantic, instance. ``{tolerance}``, ``{surface}``, ``{target}`` and ``{rule}`` are filled in.

The source is Maier-Hein et al. (2024), Metrics reloaded, and its table of pitfalls (Reinke et al., 2024);
how its branches become rows is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ASSIGNMENT", "INSTEAD", "LOCALISATION", "METRICS", "Choice", "Slot"]


@dataclass(frozen=True)
class Choice:
    """What is chosen if a condition holds: ``what`` (nothing, if empty), and why."""

    when: str
    what: str
    why: str = ""


@dataclass(frozen=True)
class Slot:
    """One decision: the first choice that holds."""

    categories: str
    choices: tuple[Choice, ...]


METRICS: tuple[Slot, ...] = (
    # Overlap.
    Slot(
        "s",
        (
            Choice(
                "tubular | centre",
                "cldice",
                "the centreline matters: a broken tube costs more than a thin one",
            ),
            Choice(
                "error_cost=fn",
                "fbeta@2",
                "false negatives are worse: sensitivity counts more than precision",
            ),
            Choice(
                "error_cost=fp",
                "fbeta@0.5",
                "false positives are worse: precision counts more than sensitivity",
            ),
            Choice("", "dice", "the overlap that readers know; Jaccard would say the same again"),
        ),
    ),
    Slot(
        "s",
        (
            Choice("tubular | centre", "dice", "the width, of which centreline Dice sees little"),
            Choice("", ""),
        ),
    ),
    # Objects.
    Slot(
        "di",
        (
            Choice(
                "scores!=no & target=sensitivity",
                "lesion_precision_at{target}{rule}",
                "what precision costs at the sensitivity that use demands",
            ),
            Choice(
                "scores!=no & target=precision",
                "lesion_sensitivity_at{target}{rule}",
                "what sensitivity is left at the precision that use demands",
            ),
            Choice("error_cost=fn", "lesion_fbeta@2{rule}", "missed objects are worse than spurious ones"),
            Choice("error_cost=fp", "lesion_fbeta@0.5{rule}", "spurious objects are worse than missed ones"),
            Choice("", "lesion_f1{rule}", "objects found, missed and spurious, whatever their size"),
        ),
    ),
    Slot(
        "di",
        (
            Choice("scores=no", "", "there are no scores to sort by"),
            Choice(
                "target=fppi",
                "lesion_froc{target}{rule}",
                "all thresholds of the score, by the false positives per image that use limits",
            ),
            Choice(
                "",
                "lesion_average_precision{rule}",
                "all thresholds of the score, not the one that was tuned",
            ),
        ),
    ),
    # Overlap and outline; in instance segmentation, of objects that were found.
    Slot(
        "i",
        (
            Choice(
                "tubular | centre",
                "cldice",
                "the centreline matters: a broken tube costs more than a thin one",
            ),
            Choice(
                "error_cost=fn",
                "fbeta@2",
                "false negatives are worse: sensitivity counts more than precision",
            ),
            Choice(
                "error_cost=fp",
                "fbeta@0.5",
                "false positives are worse: precision counts more than sensitivity",
            ),
            Choice("", "dice", "how well objects that were found overlap theirs"),
        ),
    ),
    Slot(
        "si",
        (
            Choice("small", "", "no outline can be judged on so few voxels"),
            Choice("!boundary & !tubular", "", "the outline was not said to matter"),
            Choice(
                "ref_noise!=none",
                "nsd@{tolerance}mm{surface}",
                "the share of the outline within {tolerance} mm: differences that two raters have too cost "
                "nothing",
            ),
            Choice(
                "far_errors",
                "hd{surface}",
                "the largest distance: far errors are dangerous, and the reference is exact",
            ),
            Choice(
                "",
                "masd{surface}",
                "the mean distance of outlines in mm, each outline counting half whatever its size; the "
                "reference is exact",
            ),
        ),
    ),
    Slot(
        "si",
        (
            Choice("small | !boundary & !tubular | ref_noise=none | !far_errors", ""),
            Choice(
                "",
                "hd95{surface}",
                "far errors are dangerous, but the reference is not exact: the largest 5 % of distances are "
                "left out",
            ),
        ),
    ),
    # Volume and calibration.
    Slot(
        "si",
        (
            Choice(
                "volume",
                "absolute_volume_difference_ml",
                "the volume matters, and overlaps can't tell too large from misplaced",
            ),
            Choice("", ""),
        ),
    ),
    Slot(
        "s",
        (
            Choice(
                "calibration & scores!=no",
                "ece@15",
                "whether a probability of 0.7 comes true in 7 of 10 voxels",
            ),
            Choice("", ""),
        ),
    ),
    Slot(
        "s",
        (
            Choice(
                "calibration & scores!=no",
                "brier",
                "calibration and sharpness in one proper score: a constant guess can't win",
            ),
            Choice("", ""),
        ),
    ),
    # Whole images.
    Slot(
        "c",
        (
            Choice(
                "error_cost=fp | error_cost=fn",
                "image_expected_cost",
                "confusions differ in cost: weigh them so",
            ),
            Choice(
                "prevalence_ok=no | class_weighting=equal",
                "image_balanced_accuracy",
                "does not depend on how frequent classes are",
            ),
            Choice(
                "class_weighting=ordinal",
                "image_weighted_kappa",
                "classes have an order: near misses cost less",
            ),
            Choice(
                "class_imbalance=no & error_cost=equal",
                "image_accuracy",
                "classes are balanced and errors cost alike",
            ),
            Choice("", "image_mcc", "uses all four counts, and can't be won by guessing the frequent class"),
        ),
    ),
    Slot(
        "c",
        (
            Choice(
                "target=sensitivity",
                "image_specificity_at{target}",
                "the operating point that use demands",
            ),
            Choice(
                "target=specificity | target=precision",
                "image_sensitivity_at{target}",
                "the operating point that use demands",
            ),
            Choice("prevalence_ok=no", "image_likelihood_ratio", "per class; does not depend on prevalence"),
            Choice("error_cost=fn", "image_fbeta@2", "per class; missed ones are worse"),
            Choice("error_cost=fp", "image_fbeta@0.5", "per class; false alarms are worse"),
            Choice("", "image_fbeta@1", "per class: precision and sensitivity in one"),
        ),
    ),
    Slot(
        "c",
        (
            Choice("scores=no", ""),
            Choice("", "image_auroc", "all thresholds of the score, whatever the prevalence"),
        ),
    ),
    Slot(
        "c",
        (
            Choice("scores=no | !class_imbalance | prevalence_ok=no", ""),
            Choice("", "image_average_precision", "positives are rare, and as rare as in use"),
        ),
    ),
    Slot(
        "c",
        (
            Choice(
                "calibration & scores!=no",
                "image_brier",
                "calibration and sharpness in one proper score",
            ),
            Choice("", ""),
        ),
    ),
    Slot(
        "c",
        (
            Choice("calibration & scores!=no", "image_ece@15", "how far scores are from frequencies"),
            Choice("", ""),
        ),
    ),
)

LOCALISATION = Slot(
    "di",
    (
        Choice("category=detection & centre", "any", "centre inside the reference object"),
        Choice("category=instance & tubular & boundary", "iou@0.5", "boundary IoU at 0.5"),
        Choice(
            "small",
            "iou@0.1",
            "mask IoU at 0.1: one voxel more or less moves the IoU of a small object far",
        ),
        Choice("category=detection & !boundary", "iou@0.1", "mask IoU at 0.1: a rough place is enough"),
        Choice(
            "shift_matters",
            "iou@0.3",
            "mask IoU at 0.3: one voxel aside takes an object of this size below 0.5",
        ),
        Choice("", "iou@0.5", "mask IoU at 0.5"),
    ),
)
"""When is an object found? ``what``: the rule of ``truevox evaluate``; ``why``: the criterion in words."""

ASSIGNMENT = Slot(
    "di",
    (
        Choice("scores", "score", "greedy by score: the most certain object chooses first"),
        Choice(
            "scores!=no & !touching",
            "optimal",
            "greedy by score where scores are there; else the best one-to-one pairs",
        ),
        Choice(
            "",
            "optimal",
            "the best one-to-one pairs: a greedy choice between neighbours can lose an object",
        ),
    ),
)
"""Which of several candidates is the partner?"""

INSTEAD = Slot(
    "s",
    (
        Choice(
            "multi_instance & small & boundary | multi_instance & small & volume",
            "instance",
            "small structures, several per image: find them first (objects), then measure those that were "
            "found",
        ),
        Choice(
            "multi_instance & small",
            "detection",
            "small structures, several per image: count which are found; overlaps of so few voxels are noise",
        ),
        Choice(
            "multi_instance & size_variability | multi_instance & touching",
            "instance",
            "several structures of different size, or that touch: the large ones hide the small ones in one "
            "overlap",
        ),
        Choice("", ""),
    ),
)
"""The category that fits better than the one asked for."""
