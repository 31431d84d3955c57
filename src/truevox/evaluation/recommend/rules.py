"""The rules as tables: which answers ask for which metric, and why.

In a *slot* the first rule that holds decides. Conditions are those of
:func:`truevox.evaluation.recommend.conditions.holds`; categories are initials: classification, detection,
semantic, instance. ``{tolerance}``, ``{surface}``, ``{target}``, ``{rule}`` and ``{cost}`` are filled in.

The source is Maier-Hein et al. (2024), Metrics reloaded, and its table of pitfalls (Reinke et al., 2024);
how its branches become rows is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AGGREGATION", "ASSIGNMENT", "INSTEAD", "LOCALISATION", "METRICS", "PITFALLS", "WARNINGS", "Choice", "Note",
    "Slot",
]  # fmt: skip


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


@dataclass(frozen=True)
class Note:
    """A sentence that is said where a condition holds."""

    categories: str
    when: str
    text: str


_BORDER = (
    Slot("si", (
        Choice("small", "", "no outline can be judged on so few voxels"),
        Choice("!boundary & !tubular & !centre", "", "the outline was not said to matter"),
        Choice("ref_noise!=none", "nsd@{tolerance}mm{surface}",
               "the share of the outline within {tolerance} mm: differences that two raters have too cost nothing"),
        Choice("far_errors", "hd{surface}",
               "the largest distance: far errors are dangerous, and the reference is exact"),
        Choice("", "masd{surface}",
               "the mean distance of outlines in mm, each outline counting half whatever its size; the reference is exact"),
    )),
    Slot("si", (
        Choice("small | !boundary & !tubular & !centre | ref_noise=none | !far_errors", ""),
        Choice("", "hd95{surface}",
               "far errors are dangerous, but the reference is not exact: the largest 5 % of distances are left out"),
    )),
)  # fmt: skip

METRICS: tuple[Slot, ...] = (
    # Overlap.
    Slot("s", (
        Choice("tubular | centre", "cldice", "the centreline matters: a broken tube costs more than a thin one"),
        Choice("error_cost=fn", "fbeta@2", "false negatives are worse: sensitivity counts more than precision"),
        Choice("error_cost=fp", "fbeta@0.5", "false positives are worse: precision counts more than sensitivity"),
        Choice("", "dice", "the overlap that readers know; Jaccard would say the same again"),
    )),
    Slot("s", (
        Choice("tubular | centre", "dice", "the width, of which centreline Dice sees little"),
        Choice("", ""),
    )),
    # Objects.
    Slot("di", (
        Choice("category=detection & scores!=no & target=sensitivity", "lesion_precision_at{target}{rule}",
               "what precision costs at the sensitivity that use demands"),
        Choice("category=detection & scores!=no & target=precision", "lesion_sensitivity_at{target}{rule}",
               "what sensitivity is left at the precision that use demands"),
        Choice("error_cost=fn", "lesion_fbeta@2{rule}", "missed objects are worse than spurious ones"),
        Choice("error_cost=fp", "lesion_fbeta@0.5{rule}", "spurious objects are worse than missed ones"),
        Choice("", "lesion_f1{rule}", "objects found, missed and spurious, whatever their size"),
    )),
    Slot("di", (
        Choice("scores=no", "", "there are no scores to sort by"),
        Choice("target=fppi", "lesion_froc{target}{rule}",
               "scores are there, and false positives per image are what use limits"),
        Choice("", "lesion_average_precision{rule}", "scores are there: all thresholds, not the one that was tuned"),
    )),
    # Overlap and outline of the objects that were found.
    Slot("i", (
        Choice("tubular | centre", "cldice", "the centreline matters: a broken tube costs more than a thin one"),
        Choice("error_cost=fn", "fbeta@2", "false negatives are worse: sensitivity counts more than precision"),
        Choice("error_cost=fp", "fbeta@0.5", "false positives are worse: precision counts more than sensitivity"),
        Choice("", "dice", "how well objects that were found overlap theirs"),
    )),
    *_BORDER,
    Slot("si", (
        Choice("volume", "absolute_volume_difference_ml",
               "the volume matters, and overlaps can't tell too large from misplaced"),
        Choice("", ""),
    )),
    Slot("s", (
        Choice("calibration", "ece@15", "whether a probability of 0.7 comes true in 7 of 10 voxels"),
        Choice("", ""),
    )),
    Slot("s", (
        Choice("calibration", "brier", "calibration and sharpness in one proper score: a constant guess can't win"),
        Choice("", ""),
    )),
    # Whole images.
    Slot("c", (
        Choice("error_cost=fp | error_cost=fn", "image_expected_cost", "confusions differ in cost: weigh them so"),
        Choice("prevalence_ok=no | class_weighting=equal", "image_balanced_accuracy",
               "does not depend on how frequent classes are"),
        Choice("class_weighting=ordinal", "image_weighted_kappa", "classes have an order: near misses cost less"),
        Choice("class_imbalance=no & error_cost=equal", "image_accuracy", "classes are balanced and errors cost alike"),
        Choice("", "image_mcc", "uses all four counts, and can't be won by guessing the frequent class"),
    )),
    Slot("c", (
        Choice("target=sensitivity", "image_specificity_at{target}", "the operating point that use demands"),
        Choice("target=specificity | target=precision", "image_sensitivity_at{target}",
               "the operating point that use demands"),
        Choice("prevalence_ok=no", "image_likelihood_ratio", "per class; does not depend on prevalence"),
        Choice("error_cost=fn", "image_fbeta@2", "per class; missed ones are worse"),
        Choice("error_cost=fp", "image_fbeta@0.5", "per class; false alarms are worse"),
        Choice("", "image_fbeta@1", "per class: precision and sensitivity in one"),
    )),
    Slot("c", (
        Choice("scores=no", ""),
        Choice("", "image_auroc", "scores are there: all thresholds, whatever the prevalence"),
    )),
    Slot("c", (
        Choice("scores=no | !class_imbalance | prevalence_ok=no", ""),
        Choice("", "image_average_precision", "positives are rare, and as rare as in use"),
    )),
    Slot("c", (
        Choice("calibration & scores!=no", "image_brier", "calibration and sharpness in one proper score"),
        Choice("", ""),
    )),
    Slot("c", (
        Choice("calibration & scores!=no", "image_ece@15", "how far scores are from frequencies"),
        Choice("", ""),
    )),
)  # fmt: skip

LOCALISATION = Slot("di", (
    Choice("category=detection & centre", "any", "centre inside the reference object"),
    Choice("category=instance & tubular & boundary", "iou@0.5", "boundary IoU at 0.5"),
    Choice("small", "iou@0.1", "mask IoU at 0.1: one voxel more or less moves the IoU of a small object far"),
    Choice("category=detection & !boundary", "iou@0.1", "mask IoU at 0.1: a rough place is enough"),
    Choice("", "iou@0.5", "mask IoU at 0.5"),
))  # fmt: skip
"""When is an object found? ``what``: the rule of ``truevox evaluate``; ``why``: the criterion in words."""

ASSIGNMENT = Slot("di", (
    Choice("scores", "greedy", "greedy by score: the most certain object chooses first"),
    Choice("scores!=no & !touching", "optimal",
           "greedy by score where scores are there; else the best one-to-one pairs"),
    Choice("", "optimal", "the best one-to-one pairs: a greedy choice between neighbours can lose an object"),
))  # fmt: skip
"""Which of several candidates is the partner?"""

INSTEAD = Slot("s", (
    Choice("multi_instance & small & boundary | multi_instance & small & volume", "instance",
           "small structures, several per image: find them first (objects), then measure those that were found"),
    Choice("multi_instance & small", "detection",
           "small structures, several per image: count which are found; overlaps of so few voxels are noise"),
    Choice("multi_instance & size_variability | multi_instance & touching", "instance",
           "several structures of different size, or that touch: the large ones hide the small ones in one overlap"),
    Choice("", ""),
))  # fmt: skip
"""The category that fits better than the one asked for."""

WARNINGS: tuple[Note, ...] = (
    Note("s", "small", "Structures are small: consider object detection. One voxel more or less in a square of 2x2 "
                       "moves Dice to 0.857, in 10x10 to 0.995."),
    Note("i", "small", "Structures are small: overlaps of objects are noise, counts of them are not. Outlines are left out."),
    Note("s", "multi_instance", "Several structures in an image: consider instance segmentation or detection. "
                                "One large structure can hide that all small ones are missed."),
    Note("s", "size_variability", "Sizes differ much: consider instance segmentation, or report by size."),
    Note("s", "touching", "Structures touch: only instance segmentation can tell whose outline is whose."),
    Note("di", "touching", "Touching objects are one component of a mask: give label maps with a value per object."),
    Note("d", "boundary", "The outline matters: consider instance segmentation, which measures it on objects found."),
    Note("d", "centre", "Centre distances are not computed; settings count any overlap as found."),
    Note("i", "tubular & boundary", "Boundary IoU as criterion of being found is not computed; settings use mask IoU, "
                                    "which is strict on thin objects."),
    Note("i", "", "Overlap and outline of single objects are in lesions.csv (iou, dice, assd_mm). Other metrics are "
                  "of all objects of an image together."),
    Note("si", "boundary & !small & ref_noise!=none & tolerance=no | tubular & !small & ref_noise!=none & tolerance=no",
         "The tolerance of {tolerance} mm is a placeholder: measure how far apart two raters draw."),
    Note("si", "tolerance_below_voxel", "The tolerance is below the size of a voxel: it then measures the grid."),
    Note("si", "anisotropic", "Voxels are more than twice as long as wide: border voxels over-count the fine axes, so "
                              "outlines are weighted by area (surfel)."),
    Note("si", "ref_noise=outliers", "The reference holds far-off voxels: a maximal distance would measure them."),
    Note("dsi", "small=no & few_voxels",
         "You say that structures are not small, but one of that size has fewer than ten of these voxels."),
    Note("dsi", "empty_ref", "Images without the structure: overlaps and distances are undefined there. Report how often "
                             "nothing was predicted there, and the volume of what was."),
    Note("sc", "calibration & scores=no", "Calibration needs probabilities; masks or classes have none."),
    Note("s", "calibration", "Calibration by voxel is lowered by background that is easy: restrict it to a region."),
    Note("di", "calibration", "No calibration metric is established for objects; ask it of voxels (semantic)."),
    Note("di", "target!=none & scores=no", "An operating point needs scores; without them there is one point only."),
    Note("di", "target=specificity", "Objects have no true negatives, so no specificity: use fppi."),
    Note("c", "target=fppi", "False positives per image mean something for objects; use specificity@."),
    Note("c", "prevalence_ok=no", "Precision, F-beta and accuracy do not carry over to another prevalence."),
    Note("c", "", "truevox evaluate scores masks: metrics of whole images are computed elsewhere."),
)  # fmt: skip

PITFALLS: tuple[Note, ...] = (
    Note("si", "boundary & !small | tubular & !small", "Same Dice, other outline: a shifted square and one with spikes "
         "have the same largest distance (2), but 0.556 and 0.889 of their outlines within tolerance."),
    Note("dsi", "small | size_variability", "Size: one missed voxel costs Dice 0.143 in a square of 2x2, 0.005 in 10x10."),
    Note("di", "", "Voxels are not objects: with 20x20 and 3x3 voxels and the small one missed, voxel sensitivity is "
         "0.978, Dice 0.989, sensitivity to objects 0.5."),
    Note("si", "", "Specificity is near 1 in a large background: 100 false voxels in a million give 0.9999."),
    Note("si", "boundary & !small | tubular & !small", "One far voxel: three packages report an HD95 of 2.26, 6.79 and "
         "11.31 for the same masks; ids here name the definition."),
    Note("si", "tubular", "Dice rewards width: a tube against its own centreline has Dice 0.2, centreline Dice 1."),
    Note("si", "volume", "Overlap does not tell the sign: half as large and misplaced can have the same Dice."),
    Note("si", "", "Holes and breaks cost little in any overlap: one missing voxel inside a cube of 5 leaves Dice 0.996."),
    Note("cdi", "scores!=no", "A metric at one threshold ranks thresholds, not methods."),
    Note("s", "calibration", "Pooled calibration hides opposite errors: two images off by 0.1 each way pool to 0."),
    Note("c", "!prevalence_ok | class_imbalance", "Accuracy is won by guessing the frequent class."),
    Note("dsi", "empty_ref", "A perfect score for two empty masks, averaged in silence, rewards predicting nothing."),
    Note("c", "", "A single number hides which class fails: metrics per class stand beside it."),
)  # fmt: skip

AGGREGATION: tuple[Note, ...] = (
    Note("dsi", "", "Each image first, then the mean over images; never pool voxels of all patients for the headline."),
    Note("di", "", "Say whether counts are averaged or pooled: (TP, FP, FN) = (8, 2, 2), (1, 4, 0), (0, 0, 1), (0, 0, 0) "
         "give F1 0.378 as mean of defined cases, 0.667 pooled."),
    Note("cdsi", "non_independence", "Images of a patient first, then patients: intervals and tests resample patients."),
    Note("cdsi", "!non_independence", "If images share patients or centres, average those first."),
    Note("dsi", "", "Each class by itself, then classes; a mean over classes alone hides the rare one."),
    Note("c", "", "Each class by itself beside the metric of all classes."),
    Note("dsi", "", "A missing or failed prediction gets the worst value; print n, and how many were undefined."),
    Note("c", "", "A missing prediction counts as wrong."),
    Note("di", "size_variability | small", "By size of objects: detection of small and of large ones apart."),
)  # fmt: skip
