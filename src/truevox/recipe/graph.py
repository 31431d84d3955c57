"""From a recipe to the graph that one would write in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

import truevox as tv
from truevox.errors import GraphError, SettingsError

if TYPE_CHECKING:
    from truevox.labels import Labels
    from truevox.model import Model
    from truevox.networks import Network
    from truevox.pipeline.graph import Node, Transform
    from truevox.recipe.recipe import Recipe
    from truevox.recipe.sections import Look, Normalise

__all__ = ["build"]


def build(recipe: Recipe) -> Model:
    """The model of a recipe; see :meth:`truevox.recipe.Recipe.build`."""
    labels = recipe.table
    first, scan = prepared(recipe)
    label = tv.Input(recipe.label, kind="label", labels=labels)
    net = network(recipe, labels)
    predict = recipe.predict.size or recipe.patch.size
    check_size(net, recipe.patch.size, "patch.size")
    check_size(net, predict, "predict.size" if recipe.predict.size else "patch.size")

    # The crop is centred on voxels of the label as it is stored; what is learnt lies on the scan's grid.
    target = tv.Like(scan)(label) if recipe.align or recipe.spacing is not None else label
    weights: dict[str | int, float] | None = None
    if recipe.patch.class_weights is not None:
        weights = {**recipe.patch.class_weights}
    with _key("patch"):
        crop = tv.RandomCrop(
            recipe.patch.size,
            centre_on=label,
            foreground=recipe.patch.foreground,
            class_weights=weights,
            avoid=_avoided(recipe, label),
        )
    x, y = crop(scan, target)
    x, y = augmented(recipe, x, y)
    patches = tv.GridCrop(predict, overlap=recipe.predict.overlap)(scan)
    activation = tv.Softmax() if labels.activation == "softmax" else tv.Sigmoid()
    logits = net(patches)
    full = tv.Put(like=first, weights=recipe.predict.weights)(
        activation(logits[0] if isinstance(logits, tuple) else logits)
    )
    return tv.Model(train=(net(x), y), predict={recipe.label: full}, loss=loss(recipe, labels))


def _avoided(recipe: Recipe, label: Node) -> Node | None:
    column = recipe.patch.avoid
    return label if column == recipe.label else None if column is None else tv.Input(column, kind="label")


def prepared(recipe: Recipe) -> tuple[Node, Node]:
    """The first image, and the scan that patches are cut from."""
    inputs = [_image(recipe, name) for name in recipe.images]
    first = inputs[0]
    if recipe.spacing is not None:
        made = tv.Resample(recipe.spacing)(*inputs)
        aligned = list(made) if isinstance(made, tuple) else [made]
    elif recipe.align:
        aligned = [first, *(tv.Like(first)(other) for other in inputs[1:])]
    else:
        aligned = inputs
    # Each image by itself: what a percentile of FLAIR is says nothing of T1.
    ready = [_normalised(_of_image(recipe, name), x) for name, x in zip(recipe.images, aligned, strict=True)]
    return first, tv.Stack()(*ready) if len(ready) > 1 else ready[0]


def _image(recipe: Recipe, name: str) -> Node:
    how = _of_image(recipe, name)
    # What a window cuts off below is air, and so is what lies outside of the scan.
    fill = how.clip[0] if how.method == "window" and how.clip is not None else None
    return tv.Input(name, channels=recipe.channels.get(name, 1), fill=fill)


def _of_image(recipe: Recipe, name: str) -> Normalise:
    return recipe.normalise.each.get(name, recipe.normalise)


def _normalised(how: Normalise, image: Node) -> Node:
    if how.method == "window" and how.clip is not None:
        low, high = how.clip
        return tv.Window((low + high) / 2, high - low)(image)
    if how.clip is not None:
        image = tv.Clip(*how.clip, unit=how.clip_unit)(image)
    return tv.ZScore(mask=how.mask)(image) if how.method == "zscore" else image


def augmented(recipe: Recipe, x: Node, y: Node) -> tuple[Node, Node]:
    """Random looks: spatial ones first, so that voxels are interpolated once; then intensities.

    Intensities in the order in which a picture comes about: tissue, coil, resolution, acquisition, noise; at
    last what is taken away of it. So a blur leaves the noise as it is.
    """
    a = recipe.augment
    if any(_largest(v) > 0 for v in (a.rotation, a.scaling, a.translation, a.shear)):
        with _key("augment"):
            affine = tv.RandomAffine(
                a.rotation, a.scaling, a.translation, a.isotropic, a.affine_probability, a.shear
            )
        x, y = affine(x, y)
    if a.flip:
        x, y = tv.RandomFlip(tuple(a.flip), a.flip_probability)(x, y)
    if (elastic := _look("elastic", tv.RandomElastic, a.elastic)) is not None:
        x, y = elastic(x, y)
    looks = (
        _look("contrast", tv.RandomContrast, a.contrast),
        _look("brightness", tv.RandomBrightness, a.brightness),
        tv.RandomGamma(a.gamma, a.gamma_probability) if a.gamma > 0 else None,
        _look("bias_field", tv.RandomBiasField, a.bias_field),
        _look("blur", tv.RandomBlur, a.blur),
        _look("anisotropy", tv.RandomAnisotropy, a.anisotropy),
        _look("low_resolution", tv.RandomLowResolution, a.low_resolution),
        _look("motion", tv.RandomMotion, a.motion),
        _look("ghosting", tv.RandomGhosting, a.ghosting),
        _look("gibbs", tv.RandomGibbs, a.gibbs),
        _look("spike", tv.RandomSpike, a.spike),
        tv.RandomNoise(a.noise, a.noise_probability) if a.noise > 0 else None,
        _look("cutout", tv.RandomCutout, a.cutout),
    )
    for look in looks:
        x = x if look is None else look(x)
    return x, y


def _look(name: str, make: Callable[..., Transform], section: Look | None) -> Transform | None:
    """The node of a section; None if it is off: absent, never, or 0 of it."""
    if section is None or section.off:
        return None
    with _key(f"augment.{name}"):
        return make(**section.model_dump())


@contextmanager
def _key(key: str) -> Iterator[None]:
    """Whatever a node refuses is a mistake in this key of the recipe."""
    try:
        yield
    except GraphError as error:
        raise SettingsError(
            f"The recipe's key '{key}' can't be used: {error.message}",
            got=error.got,
            expected=error.expected,
            remedy=error.remedy,
        ) from error


def _largest(value: float | tuple[float, ...]) -> float:
    return max(value) if isinstance(value, tuple) else value


def network(recipe: Recipe, labels: Labels) -> Network:
    """The network, with weights drawn from the recipe's seed."""
    settings: dict[str, Any] = recipe.network.model_dump(exclude={"name"})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        try:
            channels = sum(recipe.channels.get(name, 1) for name in recipe.images)
            module = tv.networks.UNet(channels, labels.channels, **settings)
        except GraphError as error:
            raise SettingsError(
                f"The recipe's network can't be built: {error.message}",
                got=error.got,
                expected=error.expected,
                remedy=error.remedy,
            ) from error
    return tv.Network(module, labels=labels, outputs=1 + recipe.network.deep_supervision)


def loss(recipe: Recipe, labels: Labels) -> tv.losses.Loss:
    """The weighted sum of losses."""
    activation = "sigmoid" if labels.activation == "sigmoid" and labels.channels > 1 else None
    terms: list[tv.losses.Loss] = []
    for term in recipe.loss.terms():
        if term.weight > 0:
            with _key(f"loss ({term.loss})"):
                made = getattr(tv.losses, term.loss)(activation=activation, **term.settings())
                if term.schedule is not None:
                    made = tv.losses.Scheduled(made, tuple(term.schedule))
            terms.append(term.weight * made)
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


def check_size(net: Network, size: int | tuple[int, ...], key: str) -> None:
    """Refuse a size of patches that the network can't produce, before any file is read.

    Raises
    ------
    SettingsError
        Naming the key and the nearest sizes that it can produce.
    """
    ndim = net.ndim or 3
    shape = (size,) * ndim if isinstance(size, int) else tuple(size)
    if len(shape) == 1:
        shape = shape * ndim
    if len(shape) > ndim:
        shape = tuple(n for n in shape if n > 1)
    with _key(key):
        for lattice in net.maps():
            lattice.output_shape(shape)
