"""The settings file of an evaluation: which metrics of which labels, and what happens to odd cases."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator

from truevox.errors import FileError, SettingsError, did_you_mean
from truevox.files import read_text
from truevox.metrics import Definition, Empty, Pair, definition
from truevox.metrics.matching import parse_rule

__all__ = ["DEFAULT_METRICS", "EmptyPolicy", "EvaluationSettings", "LesionSettings"]

DEFAULT_METRICS = ("dice", "volume_difference_ml", "absolute_volume_difference_ml")
"""What is scored if nothing else is asked for."""
DEFAULT_RULE = "iou@0.5/optimal"

Names = Annotated[
    tuple[str, ...], BeforeValidator(lambda given: given.split(",") if isinstance(given, str) else given)
]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LesionSettings(_Section):
    """How lesions are found and matched: what decides each row of ``lesions.csv``."""

    rule: str = DEFAULT_RULE
    connectivity: int | None = None
    min_ml: Annotated[float, Field(ge=0)] = 0.0
    labels: Names = ()


class EmptyPolicy(_Section):
    """The value where a mask is empty, as in :class:`truevox.metrics.Empty`."""

    both: Literal["undefined", "perfect"] = "undefined"
    missed: Literal["worst", "undefined"] = "worst"
    spurious: Literal["worst", "undefined"] = "worst"

    def policy(self) -> Empty:
        """What the metrics take."""
        return Empty(self.both, self.missed, self.spurious)


class EvaluationSettings(_Section):
    """What ``truevox evaluate`` computes.

    Parameters
    ----------
    metrics : sequence of str
        Names or ids of :mod:`truevox.metrics`; ``nsd@2mm:tumour`` is of that label only.
    per_label : mapping of label to sequence of str
        More metrics of single labels.
    labels : mapping, str or None
        Label table: ``{tumour: 1, whole: [1, 2]}``, a file, ``tumour=1,liver=2`` or ``nonzero``. None: the
        values that occur.
    lesions : LesionSettings, optional
        Write ``lesions.csv``. Set by itself when a metric of lesions is asked for.
    empty : EmptyPolicy
        What a metric is where a mask is empty.
    missing : {"failed", "worst"}
        A reference without prediction has no score, or that of an empty prediction at its worst.
    tolerance_mm : float, optional
        Largest displacement of a corner between grids; by default less than half a voxel for grids of the
        same voxels, else a tenth of one (:func:`truevox.alignment.aligned`).
    resample : bool
        Read predictions on the grid of their reference if they are on another one.
    by_value : bool
        Labels are found by their values alone; the names that files give them do not count.

    Raises
    ------
    pydantic.ValidationError
        If a key is not known or a value can't be used.

    Examples
    --------
    >>> settings = EvaluationSettings(metrics=["dice", "jaccard:tumour"])
    >>> [d.id for d in settings.definitions("tumour")], [d.id for d in settings.definitions("liver")]
    (['dice/voxel', 'jaccard/voxel'], ['dice/voxel'])
    """

    metrics: Names = DEFAULT_METRICS
    per_label: dict[str, Names] = Field(default_factory=dict)
    labels: dict[str, Any] | str | None = None
    lesions: LesionSettings | None = None
    empty: EmptyPolicy = EmptyPolicy()
    missing: Literal["failed", "worst"] = "failed"
    tolerance_mm: Annotated[float, Field(gt=0)] | None = None
    resample: bool = False
    by_value: bool = False

    @field_validator("metrics", mode="after")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        found = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
        if not found:
            raise ValueError("at least one metric is needed, e.g. dice")
        return found

    @property
    def named_labels(self) -> tuple[str, ...]:
        """Labels that have metrics of their own."""
        own = [name.partition(":")[2] for name in self.metrics]
        return tuple(dict.fromkeys(name for name in [*own, *self.per_label] if name))

    def definitions(self, label: str) -> list[Definition]:
        """The metrics of a label, each once, in the order asked for.

        Raises
        ------
        SettingsError
            If there is no such metric.
        """
        split = [name.partition(":") for name in self.metrics]
        names = [name for name, _, of in split if of in ("", label)] + list(self.per_label.get(label, ()))
        found = [definition(self._ruled(name.strip())) for name in names]
        return list({one.id: one for one in found}.values())

    def check(self) -> None:
        """Refuse metrics and rules that do not exist, before anything is read.

        Raises
        ------
        SettingsError
        """
        for label in ("", *self.named_labels):
            self.definitions(label)
        if self.lesions is not None:
            parse_rule(self.lesions.rule)

    def check_labels(self, known: Iterable[str]) -> None:
        """Refuse metrics of labels that are not scored: their numbers would be missing without a word.

        Raises
        ------
        SettingsError
        """
        table = list(known)
        own = () if self.lesions is None else self.lesions.labels
        for name in (*self.named_labels, *own):
            if name not in table:
                raise SettingsError(
                    f"There is no label '{name}', of which metrics or lesions are asked for.",
                    expected=", ".join(table),
                    remedy=did_you_mean(name, table) or "name a label of the table; see --labels",
                )

    @property
    def of_probabilities(self) -> tuple[str, ...]:
        """Metrics that need probabilities, by their short names."""
        asked = [one for label in ("", *self.named_labels) for one in self.definitions(label)]
        return tuple(dict.fromkeys(one.name for one in asked if needs_score(one)))

    @property
    def of_expected_volumes(self) -> tuple[str, ...]:
        """Metrics of expected volumes, by their short names."""
        asked = [one for label in ("", *self.named_labels) for one in self.definitions(label)]
        return tuple(dict.fromkeys(one.name for one in asked if one.id.endswith("/expected")))

    @property
    def lesion_rule(self) -> LesionSettings | None:
        """How lesions are matched for ``lesions.csv``; None if none is to be written."""
        if self.lesions is not None:
            return self.lesions
        names = [*self.metrics, *(name for some in self.per_label.values() for name in some)]
        return LesionSettings() if any(_of_lesions(name) for name in names) else None

    def _ruled(self, name: str) -> str:
        """A metric of lesions without a rule of its own follows that of ``lesions.csv``."""
        if self.lesions is None or "/" in name or not _of_lesions(name):
            return name
        own = self.lesions
        words = [own.rule if own.rule != DEFAULT_RULE or own.connectivity is not None else ""]
        words += [str(own.connectivity or ""), f"min@{own.min_ml:g}ml" if own.min_ml else ""]
        return "/".join([name, *filter(None, words)])

    @classmethod
    def from_file(cls, path: str | Path, **changes: Any) -> EvaluationSettings:
        """Read a settings file (YAML or JSON), with changes on top.

        Raises
        ------
        FileError
            If it can't be read.
        SettingsError
            If it is no YAML, or a key or value can't be used; names them.
        """
        file = Path(path)
        try:
            data = yaml.safe_load(read_text(file))
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise FileError(
                f"The settings can't be read: {reason}.", file=file, remedy="check the path"
            ) from error
        except yaml.YAMLError as error:
            raise SettingsError(
                f"The settings are no YAML: {error}.",
                file=file,
                remedy="correct the line that is named; one 'key: value' per line, lists in square brackets",
            ) from error
        if data is not None and not isinstance(data, dict):
            raise SettingsError(
                "The settings are no mapping.",
                file=file,
                expected="metrics: [dice, hd95]",
                remedy="write one 'key: value' per line",
            )
        return cls.make({**(data or {}), **changes}, file)

    @classmethod
    def make(cls, data: dict[str, Any], file: Path | None = None) -> EvaluationSettings:
        """Settings from plain data, with mistakes in plain words.

        Raises
        ------
        SettingsError

        Examples
        --------
        >>> EvaluationSettings.make({"metric": ["dice"]})
        Traceback (most recent call last):
        truevox.errors.SettingsError: The settings can't be used: metric: there is no such key.
          expected  metrics, per_label, labels, lesions, empty, missing, tolerance_mm, resample, by_value
          Remedy: did you mean 'metrics'?
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            problems = error.errors()
            unknown = [str(one["loc"][-1]) for one in problems if one["type"] == "extra_forbidden"]
            raise SettingsError(
                f"The settings can't be used: {'; '.join(_said(one) for one in problems)}.",
                file=file,
                expected=", ".join(cls.model_fields) if unknown else None,
                remedy=(did_you_mean(unknown[0], cls.model_fields) or f"remove the key '{unknown[0]}'")
                if unknown
                else "correct these values in the settings file or on the command line",
            ) from error


@lru_cache(maxsize=256)
def needs_score(metric: Definition) -> bool:
    """Whether a metric can't do without probabilities."""
    try:
        metric.compute(Pair([[1, 0], [1, 1]], [[1, 1], [0, 1]], (1, 1)))
    except SettingsError:
        return True
    return False


def _said(problem: Any) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where}: there is no such key"
    text = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {text[:1].lower()}{text[1:]}, got {problem['input']!r}"


def _of_lesions(name: str) -> bool:
    return name.startswith(("lesion_", "pq", "panoptic_quality"))
