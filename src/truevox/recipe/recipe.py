"""The recipe itself: read, changed, resolved, built."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BeforeValidator, Field, PositiveInt, ValidationError, model_validator

from truevox.files import atomic_path
from truevox.labels import Labels
from truevox.recipe.losses import Losses
from truevox.recipe.reading import explain, override, read_yaml
from truevox.recipe.sections import (
    Augment,
    LabelTable,
    Network,
    Normalise,
    Patch,
    Predict,
    Section,
    Spacing,
    Train,
)

if TYPE_CHECKING:
    from truevox.model import Model

__all__ = ["Recipe"]

_NOT_A_NAME = set('/\\:*?"<>|')


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class Recipe(Section):
    """What to learn from which columns of a cohort, and how.

    Parameters
    ----------
    images : list of str
        Columns of the cohort that hold the scans; they become channels, in this order.
    label : str
        Column to learn. It names the output of predictions too.
    labels : LabelTable, optional
        Names and values of the classes; ``{label: 1}`` if left out.
    channels : dict of str to int
        Images that are 4D, and how many volumes they hold; these become channels too.
    align : bool
        What to do with images and labels of a case that are on other grids than its first image: False
        refuses the case, True samples them there.
    spacing : float or three floats, optional
        Millimetres to resample scans to before everything else; None keeps each scan's own.
    normalise, patch, augment, network, loss, train, predict
        See their classes in :mod:`truevox.recipe`.

    Examples
    --------
    >>> recipe = Recipe.from_dict({"images": ["flair", "t1"], "label": "tumour", "patch": {"size": 32}})
    >>> recipe.with_overrides(["train.max_steps=500"]).train.max_steps
    500
    >>> recipe.table.channels, recipe.resolved()["predict"]["size"]
    (1, 32)
    >>> Recipe.from_dict({"images": ["t1"], "label": "mask", "loss": {"soft_dise": 1}})
    Traceback (most recent call last):
    truevox.errors.SettingsError: The recipe has no key 'loss.soft_dise'.
      got       1
      expected  cross_entropy, soft_dice, ...
      Remedy: did you mean 'loss.soft_dice'?
    """

    images: Annotated[list[str], BeforeValidator(_listed), Field(min_length=1)]
    label: str = Field(min_length=1)
    labels: LabelTable | None = None
    channels: dict[str, PositiveInt] = Field(default={})
    align: bool = False
    spacing: Spacing | None = None
    normalise: Normalise = Normalise()
    patch: Patch = Patch()
    augment: Augment = Augment()
    network: Network = Network()
    loss: Losses = Losses.model_validate({"cross_entropy": 1.0, "soft_dice": 1.0})
    train: Train = Train.model_validate({})
    predict: Predict = Predict()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        if len(set(self.images)) != len(self.images):
            raise ValueError("images are different columns")
        if self.label in self.images:
            raise ValueError("the label is no image")
        if self.patch.avoid in self.images:
            raise ValueError("patch.avoid is a column of masks, and none of the images")
        if self.label.startswith(".") or set(self.label) & _NOT_A_NAME:
            raise ValueError("the label names the files of predictions: letters, digits, '-', '_', '.'")
        for key, named in (("channels", self.channels), ("normalise.each", self.normalise.each)):
            if unknown := [name for name in named if name not in self.images]:
                raise ValueError(f"{key} names '{unknown[0]}', which is none of the images")
        channels = self.table.channels
        for term in self.loss.terms():
            weights = getattr(term, "class_weights", None)
            if weights is not None and len(weights) != max(channels, 2):
                raise ValueError(f"class_weights are {max(channels, 2)} numbers, the background's first")
        return self

    # ---- in and out ------------------------------------------------------------------------------------

    @classmethod
    def from_yaml(cls, path: str | Path) -> Recipe:
        """Read a recipe. ``labels`` may name a file beside it: :meth:`truevox.Labels.from_file`.

        Raises
        ------
        FileError
            If the file can't be read.
        SettingsError
            If it is no YAML, or a key is unknown or holds a value that can't be used: names the key.
        LabelError
            If the file of the labels makes no label table.
        """
        return cls.from_dict(read_yaml(Path(path)), file=Path(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, file: Path | None = None) -> Recipe:
        """A recipe from plain data.

        Raises
        ------
        SettingsError
            As :meth:`from_yaml`; names ``file``.
        """
        data = dict(data)
        if isinstance(data.get("labels"), str):
            data["labels"] = Labels.from_file((file.parent if file else Path()) / data["labels"]).to_dict()
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise explain(error, cls, data, file) from None

    def with_overrides(self, assignments: Iterable[str]) -> Recipe:
        """A recipe with some keys changed, each written ``key.path=value`` with a YAML value.

        Raises
        ------
        SettingsError
            If one can't be understood, or the result can't be used.
        """
        data: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        for assignment in assignments:
            data = override(data, assignment)
        return type(self).from_dict(data)

    def resolved(self) -> dict[str, Any]:
        """Plain data with every default filled in. It makes the same recipe again."""
        data = self.model_dump(mode="json")
        data["labels"] = self.table.to_dict()
        # A copy, so that the file does not refer from one to the other.
        data["predict"]["size"] = deepcopy(data["predict"]["size"] or data["patch"]["size"])
        data["train"].update(max_steps=self.max_steps, val_every=self.val_every)
        return data

    def to_yaml(self, path: str | Path) -> None:
        """Write :meth:`resolved`, atomically.

        Raises
        ------
        FileError
            If it can't be written.
        """
        text = yaml.safe_dump(self.resolved(), sort_keys=False, default_flow_style=None, width=110)
        with atomic_path(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    # ---- what follows from it ------------------------------------------------------------------------

    @property
    def table(self) -> Labels:
        """The label table."""
        if self.labels is None:
            return Labels({self.label: 1})
        return self.labels.table()

    @property
    def needs(self) -> list[str]:
        """Columns of the cohort that training needs."""
        avoided = [] if self.patch.avoid in (None, self.label) else [str(self.patch.avoid)]
        return [*self.images, self.label, *avoided]

    @property
    def val_every(self) -> int:
        """Steps between validations; 0 for none. A fifth of the training if the recipe does not say."""
        if self.train.val_every is not None:
            return self.train.val_every
        return max(self.max_steps // 5, 1) if self.max_steps else 0

    @property
    def max_steps(self) -> int | None:
        """Steps of the training; None if the recipe counts epochs."""
        return self.train.max_steps if self.train.max_steps or self.train.max_epochs else 2000

    @property
    def digest(self) -> str:
        """SHA-256 of everything that results depend on (the number of workers is not among it)."""
        data = self.resolved()
        del data["train"]["workers"]
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()

    def differences(self, other: Recipe) -> list[str]:
        """Keys whose values differ from another recipe's, as ``key: this one's, not the other's``."""
        mine, theirs = dict(_flat(self.resolved())), dict(_flat(other.resolved()))
        keys = [k for k in dict.fromkeys([*mine, *theirs]) if k != "train.workers"]
        return [f"{k}: {mine.get(k)}, not {theirs.get(k)}" for k in keys if mine.get(k) != theirs.get(k)]

    # ---- what it stands for ------------------------------------------------------------------------------

    def build(self) -> Model:
        """The model: the graph that one would write in Python, with fresh weights from ``train.seed``.

        Raises
        ------
        SettingsError
            If the network can't be built, or can't produce the size of the patches; names the key.
        """
        from truevox.recipe.graph import build

        return build(self)

    def fit_options(self) -> dict[str, Any]:
        """Keyword arguments of :meth:`truevox.Model.fit`."""
        options = self.train.model_dump()
        options.update(max_steps=self.max_steps, val_every=self.val_every or None)
        return options


def _flat(data: Any, path: str = "") -> Iterable[tuple[str, Any]]:
    if isinstance(data, Mapping) and data:
        for key, value in data.items():
            yield from _flat(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, data
