"""The sections of a recipe. Field names are those of the nodes, networks and methods that they end up in."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from truevox.errors import LabelError
from truevox.labels import Labels

__all__ = [
    "Augment",
    "LabelTable",
    "Network",
    "Normalise",
    "Patch",
    "Predict",
    "Section",
    "Size",
    "Spacing",
    "Train",
]


def _described(expected: str) -> WrapValidator:
    """One sentence instead of an error for each branch of a union."""

    def check(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise PydanticCustomError("described", "{expected}", {"expected": expected}) from error

    return WrapValidator(check)


Size = Annotated[
    PositiveInt | Annotated[tuple[PositiveInt, ...], Field(min_length=1, max_length=3)],
    _described("a whole number of voxels above 0, or one per axis"),
]
Spacing = Annotated[
    PositiveFloat | tuple[PositiveFloat, PositiveFloat, PositiveFloat],
    _described("millimetres above 0: one number, or three"),
]
PerAxis = Annotated[
    NonNegativeFloat | tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat],
    _described("a number of at least 0, or three"),
]
PerLevel = Annotated[
    PositiveInt | list[PositiveInt | list[PositiveInt]],
    _described("a whole number above 0, or one per level, or one per level and axis"),
]
Range = Annotated[
    NonNegativeFloat | tuple[NonNegativeFloat, NonNegativeFloat],
    _described("a number of at least 0, or a range [low, high]"),
]
AnyRange = Annotated[float | tuple[float, float], _described("a number, or a range [low, high]")]
Displacement = Annotated[
    NonNegativeFloat
    | tuple[NonNegativeFloat, NonNegativeFloat]
    | tuple[NonNegativeFloat, NonNegativeFloat, NonNegativeFloat],
    _described("millimetres of at least 0: one number, a range [low, high], or three"),
]
Axes = Annotated[tuple[Literal[0, 1, 2], ...], Field(min_length=1)] | None
Values = Annotated[
    int | list[int | str], _described("a whole number, or a list of them (and of other classes) for a region")
]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """Base of all sections: unknown keys are refused, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class LabelTable(Section):
    """What the label's values mean; see :class:`truevox.Labels`. ``{tumour: 1}`` is short for ``names``."""

    names: dict[str, Values] = Field(min_length=1)
    swap: list[tuple[str, str]] = []
    ignore: int | None = None

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        if isinstance(data, dict) and not isinstance(data.get("names"), dict):
            return {"names": data}
        return data

    @model_validator(mode="after")
    def _usable(self) -> LabelTable:
        try:
            self.table()
        except LabelError as error:
            raise ValueError(error.message.rstrip(".")) from error
        return self

    def table(self) -> Labels:
        """The label table that transforms, losses and metrics use."""
        return Labels(self.names, tuple(self.swap), self.ignore)


class Normalise(Section):
    """Intensities of every image, before any patch is cut; ``each`` has those that differ, by column."""

    method: Literal["zscore", "window", "none"] = "zscore"
    mask: Literal["nonzero"] | None = None
    clip: tuple[float, float] | None = None
    clip_unit: Literal["percentile", "value"] = "percentile"
    each: dict[str, Normalise] = {}

    @model_validator(mode="after")
    def _ordered(self) -> Normalise:
        if self.clip is not None and not self.clip[0] < self.clip[1]:
            raise ValueError("clip is [low, high] with low below high")
        if (
            self.clip is not None
            and self.clip_unit == "percentile"
            and not 0 <= self.clip[0] <= self.clip[1] <= 100
        ):
            raise ValueError("clip in percentiles lies between 0 and 100")
        if self.method == "window" and (self.clip is None or self.clip_unit != "value"):
            raise ValueError("a window is clip: [low, high] with clip_unit: value")
        if any(one.each for one in self.each.values()):
            raise ValueError("an image of `each` has no `each` of its own")
        return self


class Patch(Section):
    """What the network learns from: :class:`truevox.RandomCrop`."""

    size: Size = 64
    foreground: Fraction = 0.5
    class_weights: dict[str, NonNegativeFloat] | None = None
    avoid: Annotated[str, Field(min_length=1)] | None = None


class Look(Section):
    """A random transform. A number, or a range, is short for its main key; 0 of it is none."""

    probability: Fraction = 1.0

    @classmethod
    def _main(cls) -> tuple[str, ...]:
        """The first key of its own."""
        return (list(cls.model_fields)[1],)

    @model_validator(mode="before")
    @classmethod
    def _short(cls, data: Any) -> Any:
        return data if isinstance(data, (dict, Look)) else dict.fromkeys(cls._main(), data)

    @property
    def off(self) -> bool:
        """Whether it never does anything."""
        sizes = [getattr(self, key) for key in self._main()]
        return self.probability == 0 or not any(any(s) if isinstance(s, tuple) else s for s in sizes)


class Elastic(Look):
    """:class:`truevox.RandomElastic`."""

    displacement: Displacement = 8.0
    spacing: Spacing = 32.0


class Contrast(Look):
    """:class:`truevox.RandomContrast`."""

    factor: Range = 0.25
    keep_range: bool = False
    per_channel: bool = False


class Brightness(Look):
    """:class:`truevox.RandomBrightness`."""

    shift: AnyRange = 0.1
    per_channel: bool = False


class BiasField(Look):
    """:class:`truevox.RandomBiasField`."""

    strength: Range = 0.5
    wavelength: tuple[PositiveFloat, PositiveFloat] = (150.0, 400.0)
    waves: PositiveInt = 4


class Blur(Look):
    """:class:`truevox.RandomBlur`."""

    sigma: Range = (0.5, 1.5)
    per_axis: bool = False


class Anisotropy(Look):
    """:class:`truevox.RandomAnisotropy`."""

    thickness: Range = (2.0, 6.0)
    axes: tuple[Literal[0, 1, 2], ...] = Field(default=(0, 1, 2), min_length=1)


class LowResolution(Look):
    """:class:`truevox.RandomLowResolution`."""

    spacing: Range = (1.5, 4.0)


class Motion(Look):
    """:class:`truevox.RandomMotion`. A number is short for degrees and millimetres alike."""

    rotation: PerAxis = 10.0
    translation: PerAxis = 10.0
    movements: PositiveInt = 2
    axes: Axes = None

    @classmethod
    def _main(cls) -> tuple[str, ...]:
        return ("rotation", "translation")


class Ghosting(Look):
    """:class:`truevox.RandomGhosting`."""

    strength: Range = (0.1, 0.4)
    copies: PositiveInt | tuple[PositiveInt, PositiveInt] = (2, 5)
    axes: Axes = None


class Gibbs(Look):
    """:class:`truevox.RandomGibbs`."""

    kept: Range = (0.4, 0.8)
    axes: Axes = None


class Spike(Look):
    """:class:`truevox.RandomSpike`."""

    strength: Range = (0.05, 0.2)
    spikes: PositiveInt = 1


class Cutout(Look):
    """:class:`truevox.RandomCutout`."""

    size: Range = (0.1, 0.3)
    size_mm: Range | None = None
    count: PositiveInt = 1
    value: float | None = None


class Augment(Section):
    """Random looks at a patch: affine map (degrees, fraction, mm), mirrors, deformation, intensities."""

    rotation: PerAxis = 0.0
    scaling: PerAxis = 0.0
    translation: PerAxis = 0.0
    shear: PerAxis = 0.0
    isotropic: bool = False
    affine_probability: Fraction = 1.0
    flip: list[Literal[0, 1, 2]] = []
    flip_probability: Fraction = 0.5
    elastic: Elastic | None = None
    contrast: Contrast | None = None
    brightness: Brightness | None = None
    gamma: NonNegativeFloat = 0.0
    gamma_probability: Fraction = 1.0
    bias_field: BiasField | None = None
    blur: Blur | None = None
    anisotropy: Anisotropy | None = None
    low_resolution: LowResolution | None = None
    motion: Motion | None = None
    ghosting: Ghosting | None = None
    gibbs: Gibbs | None = None
    spike: Spike | None = None
    noise: NonNegativeFloat = 0.0
    noise_probability: Fraction = 1.0
    cutout: Cutout | None = None


class Network(Section):
    """Arguments of :class:`truevox.networks.UNet`; its channels in and out follow from images and labels."""

    name: Literal["unet"] = "unet"
    ndim: Literal[1, 2, 3] = 3
    channels: list[PositiveInt] = Field(default=[16, 32, 64, 128], min_length=1)
    strides: PerLevel = 2
    kernels: PerLevel = 3
    convs: PositiveInt = 2
    residual: bool = False
    norm: Literal["instance", "batch", "group"] | None = "instance"
    padding: Literal["same", "valid"] = "same"
    deep_supervision: NonNegativeInt = 0
    up: Literal["transposed", "linear"] = "transposed"


class Train(Section):
    """Arguments of :meth:`truevox.Model.fit`; 2000 steps if neither steps nor epochs are given."""

    max_steps: PositiveInt | None = None
    max_epochs: PositiveInt | None = None
    samples_per_case: PositiveInt = 1
    batch_size: PositiveInt = 2
    optimizer: Literal["adamw", "sgd"] = "adamw"
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 1e-2
    schedule: Literal["poly", "cosine", "constant", "onecycle"] = "poly"
    warmup_steps: NonNegativeInt = 0
    gradient_clip: PositiveFloat | None = 12.0
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    mix_up: NonNegativeFloat = 0.0
    precision: Literal["float32", "bf16", "auto"] = "float32"
    channels_last: bool = False
    seed: NonNegativeInt = 0
    workers: NonNegativeInt = 0
    val_every: NonNegativeInt | None = None
    checkpoint_every: PositiveInt | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Train:
        if self.max_steps is not None and self.max_epochs is not None:
            raise ValueError("max_steps or max_epochs, and not both; set the other to null")
        if self.mix_up > 0 and self.batch_size < 2:
            raise ValueError("mix_up needs two samples in a batch")
        return self


class Predict(Section):
    """How a scan is tiled and put back: :class:`truevox.GridCrop` and :class:`truevox.Put`."""

    size: Size | None = None
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5
    weights: Literal["gaussian", "uniform"] = "gaussian"
    batch_size: PositiveInt | None = None
