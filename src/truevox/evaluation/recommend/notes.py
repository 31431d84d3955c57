"""What is said beside the metrics: warnings, pitfalls that they avoid, and how to average.

Numbers of the pitfalls are those of small drawn masks. Categories are initials: classification, detection,
semantic, instance.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["AGGREGATION", "PITFALLS", "WARNINGS", "Note"]


@dataclass(frozen=True)
class Note:
    """A sentence that is said where a condition holds."""

    categories: str
    when: str
    text: str


WARNINGS: tuple[Note, ...] = (
    Note(
        "s",
        "small",
        "Structures are small: consider object detection. One voxel more or less in a square of 2x2 moves "
        "Dice to 0.857, in 10x10 to 0.995.",
    ),
    Note(
        "i",
        "small",
        "Structures are small: overlaps of objects are noise, counts of them are not. Outlines are left out.",
    ),
    Note(
        "s",
        "multi_instance",
        "Several structures in an image: consider instance segmentation or detection. One large structure "
        "can hide that all small ones are missed.",
    ),
    Note("s", "small & boundary", "No outline can be judged on so few voxels: no metric of it is listed."),
    Note(
        "s", "calibration & scores!=no", "Calibration needs probabilities: give them to truevox evaluate too."
    ),
    Note("s", "size_variability", "Sizes differ much: consider instance segmentation, or report by size."),
    Note("s", "touching", "Structures touch: only instance segmentation can tell whose outline is whose."),
    Note(
        "di",
        "touching",
        "Touching objects are one component of a mask: give label maps with a value per object.",
    ),
    Note(
        "d",
        "boundary",
        "The outline matters: consider instance segmentation, which measures it on objects found.",
    ),
    Note("d", "centre", "Centre distances are not computed; settings count any overlap as found."),
    Note(
        "i",
        "tubular & boundary",
        "Boundary IoU as criterion of being found is not computed; settings use mask IoU, which is strict on"
        " thin objects.",
    ),
    Note(
        "i",
        "",
        "Overlap and outline of single objects are in lesions.csv (iou, dice, assd_mm). Other metrics are of"
        " all objects of an image together.",
    ),
    Note(
        "si",
        "boundary & !small & ref_noise!=none & tolerance=no | tubular & !small & ref_noise!=none & "
        "tolerance=no",
        "The tolerance of {tolerance} mm is a placeholder: measure how far apart two raters draw.",
    ),
    Note(
        "si",
        "tolerance_below_voxel",
        "The tolerance is below the size of a voxel: it then measures the grid.",
    ),
    Note(
        "si",
        "anisotropic & boundary & !small | anisotropic & tubular & !small",
        "Voxels are more than twice as long as wide: border voxels over-count the fine axes, so outlines are"
        " weighted by area (surfel).",
    ),
    Note(
        "si",
        "ref_noise=outliers",
        "The reference holds far-off voxels: a maximal distance would measure them.",
    ),
    Note(
        "dsi",
        "small=no & few_voxels",
        "You say that structures are not small, but one of that size has fewer than ten of these voxels.",
    ),
    Note(
        "dsi",
        "empty_ref",
        "Images without the structure: overlaps and distances are undefined there. Report how often nothing "
        "was predicted there, and the volume of what was.",
    ),
    Note(
        "sc",
        "calibration & scores=no",
        "Calibration needs probabilities; masks or classes have none, so no metric of it is listed.",
    ),
    Note(
        "s",
        "calibration",
        "Errors of calibration are diluted by background that is easy: restrict them to a region.",
    ),
    Note(
        "di",
        "calibration",
        "No calibration metric is established for objects; ask it of voxels (semantic).",
    ),
    Note(
        "di",
        "target!=none & scores=no",
        "An operating point needs scores; without them there is one point only.",
    ),
    Note("di", "target=specificity", "Objects have no true negatives, so no specificity: use fppi."),
    Note("c", "target=fppi", "False positives per image mean something for objects; use specificity@."),
    Note("c", "prevalence_ok=no", "Precision, F-beta and accuracy do not carry over to another prevalence."),
    Note("c", "", "truevox evaluate scores masks: metrics of whole images are computed elsewhere."),
)

PITFALLS: tuple[Note, ...] = (
    Note(
        "si",
        "boundary & !small | tubular & !small",
        "The largest distance is that of one voxel: a shifted square and one with spikes both have 2, but "
        "0.556 and 0.889 of their outlines lie within 1.",
    ),
    Note(
        "dsi",
        "small | size_variability",
        "Size: one missed voxel costs Dice 0.143 in a square of 2x2, 0.005 in 10x10.",
    ),
    Note(
        "di",
        "",
        "Voxels are not objects: with 20x20 and 3x3 voxels and the small one missed, voxel sensitivity is "
        "0.978, Dice 0.989, sensitivity to objects 0.5.",
    ),
    Note("si", "", "Specificity is near 1 in a large background: 100 false voxels in a million give 0.9999."),
    Note(
        "si",
        "boundary & !small | tubular & !small",
        "One far voxel: three packages report an HD95 of 2.26, 6.79 and 11.31 for the same masks; ids here "
        "name the definition.",
    ),
    Note(
        "si",
        "tubular",
        "Dice rewards width: a tube against its own centreline has Dice 0.2, centreline Dice 1.",
    ),
    Note(
        "si",
        "volume",
        "Overlap is not volume: a shifted square has Dice 0.80 and the exact volume, one with spikes 0.86 "
        "and 32 % too much.",
    ),
    Note(
        "si",
        "",
        "Holes and breaks cost little in any overlap: one missing voxel inside a cube of 5 leaves Dice "
        "0.996.",
    ),
    Note("cdi", "scores!=no", "A metric at one threshold ranks thresholds, not methods."),
    Note(
        "s",
        "calibration",
        "Pooled calibration hides opposite errors: two images off by 0.1 each way pool to 0.",
    ),
    Note("c", "!prevalence_ok | class_imbalance", "Accuracy is won by guessing the frequent class."),
    Note(
        "dsi",
        "empty_ref",
        "A perfect score for two empty masks, averaged in silence, rewards predicting nothing.",
    ),
    Note("c", "", "A single number hides which class fails: metrics per class stand beside it."),
)

AGGREGATION: tuple[Note, ...] = (
    Note(
        "dsi",
        "",
        "Each image first, then the mean over images; never pool voxels of all patients for the headline.",
    ),
    Note(
        "di",
        "",
        "Say whether counts are averaged or pooled: (TP, FP, FN) = (8, 2, 2), (1, 4, 0), (0, 0, 1), (0, 0, "
        "0) give F1 0.378 as mean of defined cases, 0.667 pooled.",
    ),
    Note(
        "cdsi",
        "non_independence",
        "Images of a patient first, then patients: intervals and tests resample patients.",
    ),
    Note("cdsi", "non_independence=unknown", "If images share patients or centres, average those first."),
    Note("dsi", "", "Each class by itself, then classes; a mean over classes alone hides the rare one."),
    Note("c", "", "Each class by itself beside the metric of all classes."),
    Note(
        "dsi",
        "",
        "A missing or failed prediction gets the worst value; print n, and how many were undefined.",
    ),
    Note("c", "", "A missing prediction counts as wrong."),
    Note("di", "size_variability | small", "By size of objects: detection of small and of large ones apart."),
)
