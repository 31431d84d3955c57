"""What a run is: what must be the same for a checkpoint to be gone on from, as text that can be compared."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from truevox.losses.properties import description
from truevox.model.settings import Settings
from truevox.pipeline.cache import files_of
from truevox.pipeline.graph import Call, Node, Transform, ancestors
from truevox.pipeline.identity import identity, instructions
from truevox.pipeline.kinds import Source

if TYPE_CHECKING:
    from truevox.model.model import Model

__all__ = ["differences", "fingerprint"]

Print = dict[str, dict[str, str]]
MOST = 6
"""Differences that a message shows."""


def fingerprint(model: Model, cases: Sequence[Any], settings: Settings) -> Print:
    """Settings, loss, the graph that is trained, and the cases with their files; each by name."""
    outputs = [*(p for p, _ in model.pairs), *(y for _, y in model.pairs[:1])]
    calls = ancestors(outputs)
    columns = [column for call in calls if isinstance(call.op, Source) for column in call.op.columns()]
    wired = {name: _wired(model, node) for name, node in zip(_names(outputs), outputs, strict=True)}
    return {
        "settings": {name: str(value) for name, value in settings.plain().items()},
        "loss": {"loss": _loss(model.loss)},
        "graph": {model.plan.name(call): _call(model, call) for call in calls} | wired,
        "cases": {"order": _short(" ".join(str(case.key) for case in cases))}
        | {str(case.key): _files(case, columns) for case in cases},
    }


def differences(then: Print, now: Print) -> list[str]:
    """What differs, in words; the order of cases only where the cases are the same."""
    found: list[str] = []
    for part in now:
        before, after = then.get(part, {}), now[part]
        found += [
            f"{name}: {before.get(name, 'none')} then, {after.get(name, 'none')} now"
            for name in [*after, *(n for n in before if n not in after)]
            if before.get(name) != after.get(name) and name != "order"
        ]
        if not found and before.get("order") != after.get("order"):
            found.append("the cases have another order")
    return found[:MOST] + ([f"and {len(found) - MOST} more"] if len(found) > MOST else [])


def _names(outputs: Sequence[Node]) -> list[str]:
    return [*(f"output {k + 1}" for k in range(len(outputs) - 1)), "label"]


def _wired(model: Model, node: Node) -> str:
    return f"{model.plan.name(node.call)}[{node.index}]"


def _call(model: Model, call: Call) -> str:
    fields = {name: _value(value) for name, value in call.op.parameters().items()}
    fields |= {name: _wired(model, node) for name, node in call.edges.items()}
    given = [f"{name}={text}" for name, text in fields.items()]
    inputs = ", ".join(_wired(model, n) for n in call.inputs)
    return f"{_named(type(call.op))}({', '.join(given)})" + (f" of {inputs}" if inputs else "")


def _value(value: Any) -> str:
    if isinstance(value, nn.Module):
        return _module(value)
    if isinstance(value, Transform):
        return f"{type(value).__name__}({', '.join(map(_value, value.parameters().values()))})"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{k}: {_value(v)}' for k, v in value.items())}}}"
    known = identity(value)
    if known is not None:
        return known if len(known) < 60 else _short(known)
    return _named(value if hasattr(value, "__name__") else type(value))


def _named(thing: Any) -> str:
    """A function or class by its name, and if it is a user's by what it does."""
    code = instructions(thing)
    return getattr(thing, "__qualname__", str(thing)) + (f" (code {_short(code)})" if code else "")


def _module(module: nn.Module) -> str:
    """A network by its structure; its weights are what changes."""
    tensors = [(name, tuple(t.shape), str(t.dtype)) for name, t in module.state_dict().items()]
    free = [name for name, p in module.named_parameters() if p.requires_grad]
    parts = [(_named(type(part)), _state(part)) for part in module.modules()]
    return f"{type(module).__name__} {_short(f'{tensors}{free}{parts}')}"


def _state(thing: Any) -> dict[str, str]:
    """Attributes that are plain settings."""
    return {
        name: str(known)
        for name, value in sorted(vars(thing).items())
        if not name.startswith("_") and name != "training" and (known := identity(value)) is not None
    }


def _loss(loss: Any) -> str:
    kind = loss if hasattr(loss, "__name__") else type(loss)
    code = instructions(kind)
    # Attributes of other objects may be counters, which a run moves.
    state = _state(loss) if isinstance(loss, nn.Module) else {}
    return description(loss) + (f" (code {_short(f'{code}{state}')})" if code else "")


def _files(case: Any, columns: Sequence[str]) -> str:
    """Names and sizes: a folder of data that was moved or copied is the same."""
    found = []
    for column in dict.fromkeys(columns):
        if not case.has(column):  # e.g. one of several raters
            found.append(f"{column} none")
            continue
        path = case.path(column)
        size = sum(file.stat().st_size for file in files_of(path))
        found.append(f"{column} {path.name} {size} bytes")
    return ", ".join(found)


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]
