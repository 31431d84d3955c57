"""A model as a folder: ``graph.json`` (plain data) and ``weights.safetensors``. Reading executes nothing."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as pack_tensors
from torch import nn

import truevox.transforms  # noqa: F401 - a saved graph names its transforms: they must be registered
from truevox import losses
from truevox.errors import FileError, GraphError
from truevox.files import atomic_path, read_text, software, unreadable, write_json
from truevox.networks import LatticeMap, UNet
from truevox.origin import Origin
from truevox.pipeline import serial
from truevox.pipeline.graph import Transform

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["load_model", "save_model"]

GRAPH, WEIGHTS = "graph.json", "weights.safetensors"
NETWORKS: dict[str, type[nn.Module]] = {"UNet": UNet}
"""Networks that a file may name; each keeps its constructor's arguments in ``settings``."""


def save_model(model: Model, folder: Path) -> None:
    """Write a model; see :meth:`truevox.Model.save`."""
    names = {id(module): name for name, module in model.module_dict.items()}

    def foreign(value: Any) -> Any:
        if isinstance(value, LatticeMap):
            plain = dataclasses.asdict(value)
            return {
                "lattice": {**plain, "stride": [*map(str, value.stride)], "offset": [*map(str, value.offset)]}
            }
        if isinstance(value, nn.Module):
            kind = type(value).__name__
            known = NETWORKS.get(kind) is type(value)
            settings = getattr(value, "settings", None) if known else None
            return {"network": names[id(value)], "class": kind if known else None, "settings": settings}
        return None

    trained = [p for p, _ in model.pairs]
    outputs = [*trained, *[y for _, y in model.pairs[:1]], *model.predictions.values()]
    # Clones, because weights that two nodes share are written for both.
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in model.module_dict.state_dict().items()}
    packed = pack_tensors(tensors)
    digest = hashlib.sha256(packed).hexdigest()
    with atomic_path(folder / WEIGHTS) as temporary:
        temporary.write_bytes(packed)
    # The graph goes last: it vouches for the weights.
    write_json(
        folder / GRAPH,
        {
            "software": software(),
            "graph": serial.dump(outputs, model.plan.keys, foreign),
            "train": len(trained),
            "predict": list(model.predictions),
            "loss": _loss_to_plain(model.loss_function),
            "origins": {name: origin.to_dict() for name, origin in model.origins.items()},
            "weights": {
                "sha256": digest,
                "tensors": {k: {"shape": list(v.shape), "dtype": str(v.dtype)} for k, v in tensors.items()},
            },
        },
    )


def load_model(
    folder: Path, networks: Mapping[str, nn.Module], nodes: Sequence[type[Transform] | Transform]
) -> Model:
    """Read a model; see :meth:`truevox.Model.load`."""
    from truevox.model.model import Model

    described = _read_graph(folder / GRAPH)
    given = {name.replace(".", "_"): module for name, module in networks.items()}
    made: dict[str, nn.Module] = {}

    def foreign(written: Mapping[str, Any]) -> Any:
        if "lattice" in written:
            plain = written["lattice"]
            return LatticeMap(
                tuple(Fraction(s) for s in plain["stride"]),
                tuple(Fraction(o) for o in plain["offset"]),
                tuple(tuple(t) for t in plain["sizes"]),
                tuple(plain["period"]),
                bool(plain["whole"]),
            )
        name, kind = written["network"], written["class"]
        if name not in made:
            if name in given:
                made[name] = given[name]
            elif kind in NETWORKS:
                made[name] = NETWORKS[kind](**written["settings"])
            else:
                raise GraphError(
                    f"The model's network '{name}' is not part of TrueVox.",
                    file=folder / GRAPH,
                    remedy=f'tv.Model.load(folder, networks={{"{name}": module}})',
                )
        return made[name]

    try:
        outputs, keys = serial.load(described["graph"], foreign, nodes)
        count, digest = int(described["train"]), str(described["weights"]["sha256"])
        train = (tuple(outputs[:count]), outputs[count]) if count else None
        predict = dict(zip(described["predict"], outputs[count + (count > 0) :], strict=True))
        model = Model(train, predict, _loss_from_plain(described["loss"]), keys=keys)
        model.origins = {str(k): Origin.from_dict(v) for k, v in described.get("origins", {}).items()}
    except _DAMAGE as error:
        raise _damaged(folder / GRAPH, error) from error
    _load_weights(model, folder / WEIGHTS, digest)
    return model


_DAMAGE = (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What building a graph from data raises that is not that of a graph."""


def _damaged(path: Path, error: Exception, how: str = "is damaged") -> FileError:
    deep = isinstance(error, RecursionError)
    return FileError(
        f"The model's graph {how}: {'it is nested too deeply' if deep else error!s}.",
        file=path,
        got="deeper than Python can follow" if deep else type(error).__name__,
        expected="what Model.save wrote",
        remedy="restore the file, or save the model again",
    )


def _read_graph(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise FileError(
            "This is no model folder: it holds no graph.",
            file=path,
            expected=f"{GRAPH} and {WEIGHTS}",
            remedy="name the folder that Model.save or `truevox train --out` wrote",
        )
    try:
        described = json.loads(read_text(path))
        for name in ("graph", "train", "predict", "loss", "weights"):
            described[name]
    except _DAMAGE as error:
        raise _damaged(path, error, "can't be read") from error
    return described


def _load_weights(model: Model, path: Path, expected: str) -> None:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise unreadable(error, path, "model's weights") from error
    digest = hashlib.sha256(raw).hexdigest()
    if digest != expected:
        raise FileError(
            "The weights are not those that the model was saved with: the file has changed.",
            file=path,
            got=f"SHA-256 {digest}",
            expected=f"SHA-256 {expected}",
            remedy="restore the file, or save the model again",
        )
    try:
        tensors = load_tensors(raw)
    except SafetensorError as error:
        raise FileError(
            f"The model's weights can't be read: {error}.",
            file=path,
            remedy="copy the model folder from its source again, or save the model again",
        ) from error
    own = {k: list(v.shape) for k, v in model.module_dict.state_dict().items()}
    there = {k: list(v.shape) for k, v in tensors.items()}
    if own != there:
        name = next(k for k in sorted({*own, *there}) if own.get(k) != there.get(k))
        raise FileError(
            f"The weights do not fit the network at '{name}'.",
            file=path,
            got=there.get(name),
            expected=own.get(name),
            remedy="pass the network that the model was saved with: its channels and levels",
        )
    model.module_dict.load_state_dict(tensors)


def _loss_to_plain(loss: Any) -> Any:
    """A loss of ours as plain data; None for a user's own, which only training would need."""
    if type(loss).__module__.startswith("truevox.losses") and dataclasses.is_dataclass(loss):
        fields = {f.name: _loss_field(getattr(loss, f.name)) for f in dataclasses.fields(loss)}
        return {"class": type(loss).__name__, "fields": fields}
    return None


def _loss_field(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_loss_field(v) for v in value]
    plain = _loss_to_plain(value)
    return value if plain is None else plain


def _loss_from_plain(data: Any) -> Any:
    if isinstance(data, list):
        return tuple(_loss_from_plain(d) for d in data)
    if isinstance(data, Mapping) and "class" in data:
        made = getattr(losses, str(data["class"]), None) if data["class"] in losses.__all__ else None
        if made is None:
            raise GraphError(
                f"The model's loss is not part of TrueVox: {data['class']}.",
                remedy="name the loss again where the model is built, and train on from these weights",
            )
        return made(**{name: _loss_from_plain(v) for name, v in data["fields"].items()})
    return data
