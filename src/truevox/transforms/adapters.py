"""Transforms of other libraries, and any function on tensors, as nodes."""

from __future__ import annotations

import contextlib
import inspect
import random as python_random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from truevox.errors import GraphError
from truevox.image import Image
from truevox.pipeline.graph import Rng, Signature, Transform, node
from truevox.pipeline.kinds import demand_one_grid
from truevox.pipeline.lazy import Held, Lazy, Mapped
from truevox.pipeline.regions import Framewise
from truevox.space import Grid

__all__ = ["FromMONAI", "FromTorchIO", "Function", "seed_of", "seeded"]

Moved = tuple[Tensor, "np.ndarray | None"]
"""Voxels (C, I, J, K), and the affine (4, 4) that came with them, if any."""
_DISPLACING = ("Elastic", "Distortion", "Deform")


def seed_of(rng: Rng) -> int:
    """The seed that another library's generators get: below 2**32, which all of them take."""
    return int(rng.integers(2**32))


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch; afterwards they go on where they were."""
    python, numpy = python_random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        try:
            python_random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
        finally:
            python_random.setstate(python)
            np.random.set_state(numpy)


@node
class Function(Framewise):
    """Any function on tensors that leaves voxels where they are.

    Parameters
    ----------
    function : callable
        Takes voxels (C, I, J, K) and gives as many. What it draws from the generators of Python, NumPy or
        torch depends on the sample alone, and is the same for all inputs of the node.
    random : bool
        Whether it draws. If not, it belongs to the prefix of the graph, which is computed once per case.
    pointwise : bool
        Whether every new value depends on the old value of the voxel alone. Then only the voxels that are
        wanted are computed; else those of the whole frame, and beyond the frame voxels stay as they were.

    Notes
    -----
    A label stays a label, a probability a probability. With several worker processes the function is pickled:
    define it at the top of a module. In a saved model it is handed over when the model is read:
    ``tv.Model.load(folder, nodes=[tv.Function(f, name="Function.1")])``.

    Raises
    ------
    GraphError
        If the function gives no tensor, or one of another shape.

    Examples
    --------
    >>> image = Image(torch.tensor([1.0, 4.0, 9.0]).reshape(1, 3, 1, 1), Grid((3,)))
    >>> Function(torch.sqrt, random=False, pointwise=True)(image).data.flatten().tolist()
    [1.0, 2.0, 3.0]
    """

    function: Callable[[Tensor], Tensor]
    random: bool = True
    pointwise: bool = False

    handed = ("function",)

    def __post_init__(self) -> None:
        _expect_callable(self, self.function)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        return tuple(inputs)

    def remade(self, see: Callable[[Grid], Image], grid: Grid, rng: Rng) -> Tensor:
        return self._applied(see(grid).data, seed_of(rng))

    def _changed(self, lazy: Lazy, rng: Rng) -> Lazy:
        if not self.pointwise:
            return super()._changed(lazy, rng)
        seed = seed_of(rng)
        return Mapped([lazy], lambda: lambda data: self._applied(data[0], seed), lazy.kind, lazy.labels)

    def _applied(self, data: Tensor, seed: int) -> Tensor:
        with seeded(seed):
            made = self.function(data.clone())
        if not isinstance(made, Tensor) or made.shape != data.shape:
            raise GraphError(
                "A function gives as many voxels as it takes.",
                got=tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__,
                expected=tuple(data.shape),
                remedy="for what moves voxels, write a node of kind Spatial",
            )
        return made


class _Library(Transform):
    """Runs another library's transform on whole frames, and takes over where it says the voxels are."""

    handed = ("transform",)

    def applied(self, images: Sequence[Image], seed: int) -> Sequence[Moved]:
        """What the library makes of the images, on one grid, with this seed."""
        raise NotImplementedError

    def run(self, inputs: Sequence[Lazy], edges: Mapping[str, Lazy], rng: Rng) -> tuple[Lazy, ...]:
        demand_one_grid(inputs, type(self).__name__)
        images = [lazy.image() for lazy in inputs]
        seed = seed_of(rng)
        with seeded(seed):
            made = self.applied(images, seed)
        held = tuple(Held(self._image(i, *m)) for i, m in zip(images, made, strict=True))
        for one, lazy in zip(held, inputs, strict=True):
            one.stored = lazy.stored if one.grid == lazy.grid else None
        return held

    def _image(self, image: Image, data: Tensor, affine: np.ndarray | None) -> Image:
        if data.ndim != 4 or data.shape[0] != image.channels:
            raise GraphError(
                f"{type(self).__name__} was given other channels than it gave.",
                got=tuple(data.shape),
                expected=("C", *image.shape[1:]),
                remedy="channels are made by nodes: tv.Stack, tv.OneHot",
            )
        shape = tuple(data.shape[1:])
        if affine is None and shape != image.grid.shape:
            raise GraphError(
                f"{type(self).__name__}: voxels came back in another shape, without where they are.",
                got=shape,
                expected=image.grid.shape,
                remedy="for MONAI: monai.data.set_track_meta(True)",
            )
        grid = image.grid if affine is None else Grid(shape, affine, image.grid.unit)
        # The affine went through other types and orders of axes: what did not move is left where it was.
        grid = image.grid if grid.same_as(image.grid) else grid
        if image.kind == "label":
            if not torch.equal(data, data.round()):
                raise GraphError(
                    f"{type(self).__name__}: a label came back with values between its own.",
                    remedy='for MONAI: a dictionary transform with mode=["bilinear", "nearest"]',
                )
            data = data.to(image.data.dtype)
        return image.replace(data=data.contiguous(), grid=grid)


@node
class FromMONAI(_Library):
    """A transform of MONAI, or a ``Compose`` of them.

    Parameters
    ----------
    transform : callable
        A dictionary transform gets all inputs at once, each under its key. An array transform gets one after
        the other, each with the same seed; labels with ``mode="nearest"`` where it has such a parameter.
    keys : sequence of str, optional
        The key of each input, in order; as the transform names them if left out.
    random : bool
        Whether it draws. If not, it belongs to the prefix of the graph, computed once per case.

    Notes
    -----
    It works on whole frames: what lies beyond is not seen by a rotation, which fills with what the library
    fills with. The output lies where MONAI's affine says; so an affine transform that MONAI tracks moves the
    camera, as ours does, while an elastic one shows the world displaced. Where a flip mirrors left and
    right, label values stay: MONAI knows no table of labels. An image of one slice is given to it in two
    dimensions. The draw depends on the sample alone, whatever the number of workers.

    In a saved model it is handed over when the model is read:
    ``tv.Model.load(folder, nodes=[tv.FromMONAI(transform, name="FromMONAI.1")])``.

    Raises
    ------
    GraphError
        If there are other inputs than keys, several samples come out, channels change, or voxels move without
        an affine.

    Examples
    --------
    >>> from monai.transforms import Flip
    >>> image = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3, 1, 1)))
    >>> flipped = FromMONAI(Flip(spatial_axis=0), random=False)(image)
    >>> flipped.data.flatten().tolist(), flipped.grid.to_world((0, 0, 0)).tolist()
    ([2.0, 1.0, 0.0], [2.0, 0.0, 0.0])
    """

    transform: Callable[..., Any]
    keys: Sequence[str] | None = None
    random: bool = True

    def __post_init__(self) -> None:
        _expect_callable(self, self.transform)

    @property
    def deforms(self) -> bool:  # type: ignore[override]
        """Whether a part of it shows the world displaced."""
        return any(word in type(t).__name__ for t in _parts(self.transform) for word in _DISPLACING)

    def signatures(self, inputs: Sequence[Signature]) -> tuple[Signature, ...]:
        keys = self._keys()
        if keys and len(keys) != len(inputs):
            raise GraphError(
                "FromMONAI takes an input for each key of the transform.",
                got=f"{len(inputs)} inputs",
                expected=", ".join(keys),
                remedy="name those that you give, in order: keys=(...)",
            )
        return tuple(inputs)

    def _keys(self) -> tuple[str, ...]:
        if self.keys is not None:
            return tuple(self.keys)
        return tuple(dict.fromkeys(str(k) for t in _parts(self.transform) for k in getattr(t, "keys", ())))

    def applied(self, images: Sequence[Image], seed: int) -> Sequence[Moved]:
        if keys := self._keys():
            given = {key: _to_monai(image) for key, image in zip(keys, images, strict=True)}
            made = self._called(given, seed)
            return [_from_monai(made[key], image) for key, image in zip(keys, images, strict=True)]
        modes = "mode" in inspect.signature(type(self.transform).__call__).parameters
        moved = []
        for image in images:
            with seeded(seed):
                mode = {"mode": "nearest"} if modes and image.kind == "label" else {}
                moved.append(_from_monai(self._called(_to_monai(image), seed, **mode), image))
        return moved

    def _called(self, data: Any, seed: int, **settings: str) -> Any:
        if hasattr(self.transform, "set_random_state"):
            self.transform.set_random_state(seed)
        made = self.transform(data, **settings)
        if isinstance(made, list) and len(made) == 1:
            return made[0]
        if isinstance(made, (list, tuple)):
            raise GraphError(
                "A transform of MONAI gives several samples of one.",
                got=len(made),
                expected=1,
                remedy="num_samples=1; a batch is made by the training",
            )
        return made


def _parts(transform: Any) -> Iterator[Any]:
    """A transform, or those of a ``Compose``, to any depth."""
    inner = getattr(transform, "transforms", None)
    if isinstance(inner, (list, tuple)):
        for one in inner:
            yield from _parts(one)
    else:
        yield transform


def _is_flat(grid: Grid) -> bool:
    return grid.shape[2] == 1 and min(grid.shape[:2]) > 1


def _to_monai(image: Image) -> Any:
    from monai.data.meta_tensor import MetaTensor

    if not _is_flat(image.grid):
        return MetaTensor(image.data.clone(), affine=torch.tensor(image.grid.affine))
    spacing = torch.tensor([*image.grid.spacing[:2], 1.0], dtype=torch.float64)
    return MetaTensor(image.data[..., 0].clone(), affine=torch.diag(spacing))


def _from_monai(made: Any, image: Image) -> Moved:
    data = (made.as_tensor() if hasattr(made, "as_tensor") else torch.as_tensor(made)).detach()
    affine = np.asarray(made.affine, dtype=np.float64) if hasattr(made, "affine") else None
    if not _is_flat(image.grid):
        return data, affine
    if affine is not None:
        # In the plane: from voxels of the result to voxels of the image, by the affine that it was given.
        scale = np.diag([*image.grid.spacing[:2], 1.0])
        step = np.eye(4)
        step[np.ix_([0, 1, 3], [0, 1, 3])] = np.linalg.solve(scale, affine[np.ix_([0, 1, -1], [0, 1, -1])])
        affine = image.grid.affine @ step
    return data[..., None], affine


@node
class FromTorchIO(_Library):
    """A transform of TorchIO.

    Parameters
    ----------
    transform : torchio.Transform
        Gets all inputs at once, as a subject: scans as ``ScalarImage``, everything else as ``LabelMap``,
        which intensity transforms leave alone and spatial ones sample nearest.
    random : bool
        Whether it draws. If not, it belongs to the prefix of the graph, computed once per case.

    Notes
    -----
    It works on whole frames. The output lies where TorchIO's affine says. ``RandomAffine``, ``RandomFlip``
    and ``RandomElasticDeformation`` move the voxels and leave the affine as it was: they show the world
    displaced, so that what is seen can't be put back, and a coordinate means another place of the patient
    afterwards (:class:`RandomAffine` and :class:`RandomFlip` of TrueVox move the camera instead). Label
    values stay in a mirror. The draw depends on the sample alone, whatever the number of workers.

    In a saved model it is handed over when the model is read:
    ``tv.Model.load(folder, nodes=[tv.FromTorchIO(transform, name="FromTorchIO.1")])``.

    Raises
    ------
    GraphError
        If it is no transform of TorchIO, or channels change.

    Examples
    --------
    >>> import torchio as tio
    >>> image = Image(torch.arange(3.0).reshape(1, 3, 1, 1), Grid((3, 1, 1)))
    >>> padded = FromTorchIO(tio.Pad((1, 0, 0, 0, 0, 0)), random=False)(image)
    >>> padded.data.flatten().tolist(), padded.grid.to_world((0, 0, 0)).tolist()
    ([0.0, 0.0, 1.0, 2.0], [-1.0, 0.0, 0.0])
    """

    transform: Callable[..., Any]
    random: bool = True

    def __post_init__(self) -> None:
        _expect_callable(self, self.transform)

    @property
    def deforms(self) -> bool:  # type: ignore[override]
        """Whether a part of it may move voxels."""
        from torchio.transforms import IntensityTransform

        return not all(isinstance(t, IntensityTransform) for t in _parts(self.transform))

    def applied(self, images: Sequence[Image], seed: int) -> Sequence[Moved]:
        import torchio as tio

        names = [f"input{k}" for k in range(len(images))]
        kinds = [tio.ScalarImage if image.kind == "scalar" else tio.LabelMap for image in images]
        subject = tio.Subject(
            {
                name: kind(tensor=image.data.clone(), affine=image.grid.affine)
                for name, kind, image in zip(names, kinds, images, strict=True)
            }
        )
        made: Any = self.transform(subject)
        return [(made[name].data, np.asarray(made[name].affine, np.float64)) for name in names]


def _expect_callable(op: Transform, function: Any) -> None:
    if not callable(function) or isinstance(function, type):
        raise GraphError(
            f"{type(op).__name__} takes something that can be called on images.",
            got=function.__name__ if isinstance(function, type) else type(function).__name__,
            remedy="make the transform first, e.g. RandFlip(0.5)"
            if isinstance(function, type)
            else "pass a function, or a transform of that library",
        )
