"""What the losses share: activations, targets as class shares, and voxel weights, in float32 or better."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from truevox.errors import GraphError

__all__ = ["check_activation", "is_binary", "log_probabilities", "probabilities", "shares", "voxel_weight"]

ACTIVATIONS = (None, "sigmoid", "softmax")


def check_activation(activation: str | None) -> None:
    """Refuse the name of an activation that does not exist."""
    if activation not in ACTIVATIONS:
        raise GraphError(
            "`activation` of a loss does not fit.", got=activation, expected="'sigmoid', 'softmax' or None"
        )


def is_binary(logits: Tensor, activation: str | None) -> bool:
    """Whether each channel is a yes or no of its own (sigmoid) and not one of several exclusive classes."""
    return logits.shape[1] == 1 if activation is None else activation == "sigmoid"


def exact(x: Tensor) -> Tensor:
    """``x`` in float32 at least: sums over many voxels are wrong in half precision."""
    return x if x.dtype == torch.float64 else x.float()


def probabilities(logits: Tensor, binary: bool) -> Tensor:
    """Sigmoid or softmax over the channels."""
    return torch.sigmoid(logits) if binary else torch.softmax(logits, dim=1)


def log_probabilities(logits: Tensor) -> Tensor:
    """Logarithm of the softmax over the channels."""
    return functional.log_softmax(logits, dim=1)


def shares(target: Tensor, logits: Tensor, binary: bool, ignore_index: int | None) -> Tensor:
    """Target as the share of each channel (B, C, *spatial), in the type of ``logits``.

    Raises
    ------
    GraphError
        If the target's shape fits neither class indices nor shares, or an index names no class.
    """
    if target.is_floating_point():
        if target.shape != logits.shape:
            raise _misfit(target, logits)
        return target.to(logits.dtype)
    if binary and target.shape == logits.shape and logits.shape[1] > 1:
        marks = target if ignore_index is None else torch.where(target == ignore_index, 0, target)
        return marks.to(logits.dtype)
    index = class_index(target, logits, ignore_index)
    channels = logits.shape[1]
    if channels == 1:
        return index.unsqueeze(1).to(logits.dtype)
    hard = torch.zeros_like(logits, memory_format=torch.preserve_format)
    return hard.scatter_(1, index.unsqueeze(1), 1)


def class_index(target: Tensor, logits: Tensor, ignore_index: int | None) -> Tensor:
    """Target of class indices as int64 (B, *spatial); ignored voxels are class 0."""
    index = target
    if target.dim() == logits.dim() and target.shape[1] == 1:
        index = target[:, 0]
    if index.shape != (logits.shape[0], *logits.shape[2:]):
        raise _misfit(target, logits)
    index = index.long()
    if ignore_index is not None:
        index = torch.where(index == ignore_index, 0, index)
    classes = max(logits.shape[1], 2)
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= classes):
        raise GraphError(
            "The target holds a class that the logits do not have.",
            got=sorted(int(value) for value in index.unique())[:20],
            expected=f"0 to {classes - 1}"
            + ("" if ignore_index is None else f", or {ignore_index} to ignore"),
        )
    return index


def voxel_weight(
    target: Tensor, logits: Tensor, weight: Tensor | None, ignore_index: int | None
) -> Tensor | None:
    """Weight (B, 1 or C, *spatial) per voxel: ``weight``, 0 where the target is ignored; None if all 1."""
    result = None
    if weight is not None:
        if weight.dim() != logits.dim() or weight.shape[1] != 1:
            raise GraphError(
                "A voxel weight has one channel.", got=tuple(weight.shape), expected="(B, 1, *spatial)"
            )
        result = weight.to(logits.dtype)
    if ignore_index is None or target.is_floating_point():
        return result
    ignored = target == ignore_index
    ignored = ignored.unsqueeze(1) if ignored.dim() < logits.dim() else ignored
    if not bool(ignored.any()):
        return result
    kept = (~ignored).to(logits.dtype)
    return kept if result is None else result * kept


def _misfit(target: Tensor, logits: Tensor) -> GraphError:
    return GraphError(
        "The target does not fit the logits.",
        got=f"target {tuple(target.shape)} {target.dtype}, logits {tuple(logits.shape)}",
        expected="ints (B, *spatial) or (B, 1, *spatial), or floats of the logits' shape",
    )
