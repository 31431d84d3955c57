"""The questions of a fingerprint, in the order they are asked; and what is wrong with an answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from truevox.errors import SettingsError
from truevox.evaluation.recommend.conditions import holds

__all__ = ["QUESTIONS", "Question", "mistakes", "next_question", "open_questions"]

YES_NO = ("yes", "no", "unknown")


@dataclass(frozen=True)
class Question:
    """One question.

    Parameters
    ----------
    key : str
        The field of the fingerprint.
    text : str
        As it is asked.
    choices : tuple of str
        Words to choose from; empty if any value of the form ``example`` will do.
    example : str
        How an answer looks that is no choice.
    categories : str
        Initials of the categories that it is asked of: classification, detection, semantic, instance.
    when : str
        Asked only if this is true of what was answered before.
    """

    key: str
    text: str
    choices: tuple[str, ...] = YES_NO
    example: str = ""
    categories: str = "cdsi"
    when: str = ""

    @property
    def help(self) -> str:
        """What the answer decides, and how it is given."""
        return f"{HELP[self.key]} Answer: {self.allowed}."

    def complete(self, word: str) -> str:
        """A choice from its first letters, in any case; any other word as it is.

        Examples
        --------
        >>> QUESTIONS[0].complete("Sem"), QUESTIONS[3].complete("y"), QUESTIONS[1].complete("4 mm")
        ('semantic', 'yes', '4 mm')
        """
        text = word.strip()
        found = [choice for choice in self.choices if text and choice.startswith(text.lower())]
        return found[0] if len(found) == 1 else text

    @property
    def allowed(self) -> str:
        """Choices, or an example, in words."""
        if not self.choices:
            return self.example
        return f"{', '.join(self.choices[:-1])} or {self.choices[-1]}"


HELP = {
    "category": (
        "Classification says one thing of a whole image (tumour: yes). Detection says where objects "
        "are. Semantic segmentation gives each voxel a class (liver). Instance segmentation gives "
        "each object its own voxels (lesion 1, lesion 2, ...)."
    ),
    "structure_mm": (
        "With the size of a voxel it says how many voxels a structure has: overlaps and outlines of "
        "few voxels are noise, and such objects are found by a lower IoU. Give the usual one, not the "
        "largest."
    ),
    "spacing": (
        "Voxel edges in mm, as truevox check prints them. One number is the edge of a cube, two are a "
        "picture."
    ),
    "small": "Below ten voxels outlines are not judged, and objects are counted instead.",
    "multi_instance": (
        "Lesions, cells or vertebrae are; a liver is not. One overlap of all of them hides that the "
        "small ones are missed."
    ),
    "size_variability": (
        "Where one lesion is many times larger than another, it decides their common overlap."
    ),
    "touching": "Touching objects are one component of a mask; matching them needs care.",
    "tubular": "Of tubes the centreline counts: Dice rewards width, and hardly sees a break.",
    "centre": "Then an object is found if its centre is.",
    "boundary": "Yes adds a metric of outlines (NSD, MASD, HD), e.g. for radiotherapy or surgery.",
    "volume": "Yes adds the difference of volumes, e.g. for growth or dose.",
    "error_cost": (
        "Fn: what is missed is worse, as in screening. Fp: what is marked in vain is worse. Then "
        "F-beta replaces Dice or F1."
    ),
    "ref_noise": (
        "What two raters do not share costs nothing with NSD, whose tolerance is their distance. An "
        "exact reference (a phantom, a simulation) allows MASD or HD."
    ),
    "tolerance_mm": (
        "The tolerance of NSD. Unknown: the longest edge of a voxel stands in, and the page says so."
    ),
    "far_errors": "Yes adds HD95, or HD if the reference is exact: a voxel in the wrong organ counts.",
    "empty_ref": (
        "Overlaps and distances are undefined in such images, and what is predicted there is to be "
        "reported apart."
    ),
    "scores": (
        "With scores all thresholds can be judged (average precision, FROC), not only the one that was tuned."
    ),
    "calibration": "Yes adds ECE and Brier score: whether a probability of 0.7 comes true in 7 of 10.",
    "target": "A demand of use, e.g. a sensitivity of 0.9: the other rate is then reported at that point.",
    "prevalence_ok": "If not, precision, F-beta and accuracy do not carry over to use.",
    "class_imbalance": "Accuracy is won by guessing the frequent class.",
    "class_weighting": (
        "Equal: balanced accuracy. Frequency: accuracy or MCC. Ordinal (grades): weighted kappa."
    ),
    "non_independence": "Images of a patient resemble each other: intervals and tests then go by patient.",
    "empty_pred": "It is then scored at its worst.",
}
"""What an answer is for."""

QUESTIONS: tuple[Question, ...] = (
    Question(
        "category",
        "What comes out: a class per image (classification), places of objects (detection), a class per "
        "voxel (semantic), or objects with their voxels (instance)?",
        ("classification", "detection", "semantic", "instance"),
    ),
    Question(
        "structure_mm",
        "How large is one structure (typical diameter in mm)?",
        (),
        "a number of mm above 0, e.g. 8",
        "dsi",
    ),
    Question(
        "spacing",
        "How large is a voxel (mm)?",
        (),
        "one to three numbers of mm above 0, e.g. 1x1x3",
        "dsi",
    ),
    Question(
        "small",
        "Are structures always small, below ten voxels?",
        categories="dsi",
        when="few_voxels=unknown",
    ),
    Question(
        "multi_instance",
        "Can an image hold several structures of a kind, that are counted or judged one by one?",
        categories="s",
    ),
    Question(
        "size_variability",
        "Do sizes of structures differ much within an image?",
        categories="si",
        when="multi_instance | category=instance",
    ),
    Question("touching", "Do structures touch or overlap?", categories="di"),
    Question("tubular", "Are structures tubes or threads (vessels, nerves, instruments)?", categories="si"),
    Question("centre", "Is only the centre of an object of interest?", categories="d"),
    Question("boundary", "Does the exact outline matter?", categories="dsi"),
    Question("volume", "Does the volume matter?", categories="si"),
    Question(
        "error_cost",
        "Which error is worse: false positives (fp), false negatives (fn), or neither (equal)?",
        ("equal", "fp", "fn", "unknown"),
    ),
    Question(
        "ref_noise",
        "Is the reference uncertain: outlines imprecise (imprecision), single voxels far off (outliers), or "
        "is it exact (none)?",
        ("none", "imprecision", "outliers", "unknown"),
        categories="si",
        when="boundary & !small | tubular & !small",
    ),
    Question(
        "tolerance_mm",
        "How far apart are outlines of two raters (mm)?",
        (),
        "a number of mm above 0, e.g. 1.5",
        "si",
        "boundary & !small & ref_noise!=none | tubular & !small & ref_noise!=none",
    ),
    Question(
        "far_errors",
        "Is a single error far from the structure dangerous, however small?",
        categories="si",
        when="boundary & !small | tubular & !small",
    ),
    Question("empty_ref", "Are there images without the structure?", categories="dsi"),
    Question("scores", "Do predictions come with scores or probabilities?", categories="cdi"),
    Question("calibration", "Shall probabilities be right as probabilities?", categories="cs"),
    Question(
        "target",
        "Does use demand an operating point?",
        (),
        "sensitivity@0.9, precision@0.8, specificity@0.95 or fppi@1",
        "cd",
    ),
    Question("prevalence_ok", "Are classes as frequent as they will be in use?", categories="c"),
    Question("class_imbalance", "Are some classes rare?", categories="c"),
    Question(
        "class_weighting",
        "Do classes count alike (equal), by how frequent they are (frequency), or have they an order "
        "(ordinal)?",
        ("equal", "frequency", "ordinal", "unknown"),
        categories="c",
    ),
    Question("non_independence", "Are there several images of a patient, or several centres?"),
    Question("empty_pred", "Can a prediction be empty?", categories=""),
)


def open_questions(facts: Mapping[str, str], answered: Mapping[str, Any]) -> Iterator[Question]:
    """Questions that are still to be asked, in their order.

    Parameters
    ----------
    facts : mapping
        Facts of the answers so far (:meth:`Fingerprint.facts`).
    answered : mapping
        Keys that are answered, by whatever value.
    """
    for one in QUESTIONS:
        asked = facts["category"][0] in one.categories and one.key not in answered
        if asked and holds(one.when, facts):
            yield one


def next_question(answers: Mapping[str, Any]) -> Question | None:
    """The question to ask next; None if all that matter are answered.

    Raises
    ------
    SettingsError
        If an answer can't be used.
    """
    from truevox.evaluation.recommend.fingerprint import Fingerprint

    if "category" not in answers:
        return QUESTIONS[0]
    return next(open_questions(Fingerprint.from_dict(answers).facts(), answers), None)


def mistakes(error: ValidationError, file: Path | None = None) -> SettingsError:
    """What pydantic found in answers, in words: key, value, what is allowed."""
    found: dict[str, Any] = {}
    for one in error.errors(include_url=False):
        found.setdefault(str(one["loc"][0]), one)
    problems = [_problem(key, one) for key, one in found.items()]
    if len(problems) == 1:
        message, got, expected, remedy = problems[0]
        answer = f"give another answer: --set {next(iter(found))}=..., or the same key in the file"
        return SettingsError(message, file=file, got=got, expected=expected, remedy=remedy or answer)
    lines = [
        f"  {message} {'; '.join(filter(None, (got and f'got {got}', f'expected {expected}', remedy)))}"
        for message, got, expected, remedy in problems
    ]
    return SettingsError(
        "\n".join([f"{len(problems)} answers can't be used.", *lines]),
        file=file,
        remedy="correct these answers one by one; `truevox recommend --ask` asks for them",
    )


def _problem(key: str, one: Any) -> tuple[str, str | None, str, str | None]:
    allowed = {question.key: question.allowed for question in QUESTIONS}
    if one["type"] == "missing":
        return f"The answer '{key}' is needed.", None, allowed[key], None
    got = repr(one["input"])
    if key not in allowed:
        near = difflib.get_close_matches(key, allowed, 1, 0.5)
        remedy = f"did you mean '{near[0]}'?" if near else "remove it"
        return f"There is no question '{key}'.", got, ", ".join(allowed), remedy
    return f"The answer '{key}' can't be used.", got, allowed[key], None
