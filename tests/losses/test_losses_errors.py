# pyright: reportArgumentType=false
"""What does not fit is refused with the argument's name, what was found, and what would fit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from losscases import EVERY
from torch import Tensor

from truevox import losses as tvl
from truevox.errors import GraphError
from truevox.losses import Loss

Z = torch.zeros(2, 3, 5, 4)
Y = torch.zeros(2, 5, 4, dtype=torch.long)
ONES = torch.ones(2, 1, 5, 4)
BASE = [tvl.CrossEntropy(), tvl.SoftDice(), tvl.Lovasz(), tvl.CrossEntropy() + tvl.SoftDice()]


def shares(value: float) -> Tensor:
    made = torch.full_like(Z, 1 / 3)
    made[1, 2, 3, 1] = value
    return made


@pytest.mark.parametrize("loss", BASE, ids=["ce", "dice", "lovasz", "sum"])
@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: f(Z[0, 0], Y), ("`logits`", "(5, 4)", "floats (B, C, *spatial)")),
        (lambda f: f(Z.long(), Y), ("`logits`", "torch.int64", "floats (B, C, *spatial)")),
        (lambda f: f(Z.numpy(), Y), ("`logits`", "ndarray", "floats (B, C, *spatial)")),
        (lambda f: f.on_probabilities(Z[0, 0], Y), ("`probabilities`", "(5, 4)", "floats (B, C, *spatial)")),
        (lambda f: f(Z, Y[:1]), ("target", "(1, 5, 4)", "(2, 3, 5, 4)", "ints (B, *spatial)")),
        (lambda f: f(Z, Y[..., :3]), ("target", "(2, 5, 3)", "(2, 3, 5, 4)", "or (B, 1, *spatial)")),
        (lambda f: f(Z, Y.unsqueeze(1).expand(2, 2, 5, 4)), ("target", "(2, 2, 5, 4)", "ints (B, *spatial)")),
        (lambda f: f(Z, Y.float()), ("target", "torch.float32", "floats of the logits' shape")),
        (lambda f: f(Z, shares(1.2)), ("`target`", "to 1.2", "0 to 1")),
        (lambda f: f(Z, shares(-0.1)), ("`target`", "-0.1 to", "0 to 1")),
        (lambda f: f(Z, shares(math.nan)), ("`target`", "nan", "0 to 1")),
        (lambda f: f(Z, Y + 3), ("The target holds a class", "[3]", "0 to 2, or 255 to ignore")),
        (lambda f: f(Z, Y - 1), ("The target holds a class", "[-1]", "0 to 2, or 255 to ignore")),
        (lambda f: f(Z, Y + 256), ("The target holds a class", "[256]", "0 to 2, or 255 to ignore")),
        (lambda f: f.on_probabilities(Z, Y + 3), ("The target holds a class", "[3]", "0 to 2")),
        (lambda f: f.on_probabilities(Z + 1.1, Y), ("`probabilities`", "1.1 to 1.1", "0 to 1")),
        (lambda f: f.on_probabilities(Z - 0.1, Y), ("`probabilities`", "-0.1 to -0.1", "0 to 1")),
        (lambda f: f.on_probabilities(shares(math.nan), Y), ("`probabilities`", "nan", "0 to 1")),
        (
            lambda f: f(Z, Y, weight=ONES[:, 0]),
            ("voxel weight", "(2, 5, 4)", "(B, 1, *spatial): (2, 1, 5, 4)"),
        ),
        (lambda f: f(Z, Y, weight=torch.ones_like(Z)), ("voxel weight", "(2, 3, 5, 4)", "(2, 1, 5, 4)")),
        (lambda f: f(Z, Y, weight=-ONES), ("`weight`", "-1 to -1", "0 or more")),
        (lambda f: f(Z, Y, weight=ONES * math.nan), ("`weight`", "nan", "0 or more")),
        (lambda f: f(Z, Y, weight=ONES * math.inf), ("`weight`", "inf", "0 or more")),
        (
            lambda f: f(Z, Y, label_present=torch.ones(2, 2, dtype=torch.bool)),
            ("`label_present`", "(2, 2) torch.bool", "bool (B, C): (2, 3)"),
        ),
        (
            lambda f: f(Z, Y, label_present=torch.ones(2, 3)),
            ("`label_present`", "(2, 3) torch.float32", "bool (B, C): (2, 3)"),
        ),
        (
            lambda f: f(Z, Y, label_present=torch.tensor([[False, True, True]] * 2)),
            ("background can't be the one", "label_present[:, 0] is True", "ignore_index"),
        ),
        (lambda f: f(Z * math.nan, Y), ("`logits`", "NaN or infinity", "finite numbers", "learning rate")),
    ],
)
def test_arguments_of_a_call(loss: Loss, call: Callable[[Loss], Tensor], says: tuple[str, ...]):
    with pytest.raises(GraphError) as caught:
        call(loss)
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_every_loss_refuses_a_label_of_no_class(name: str):
    for channels, label, expected in ((1, 2, "0 to 1"), (3, 7, "0 to 2")):
        y = Y.clone()
        y[1, 2, 3] = label
        with pytest.raises(GraphError) as caught:
            EVERY[name](Z[:, :channels], y)
        assert f"[0, {label}]" in str(caught.value)
        assert f"{expected}, or 255 to ignore" in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_overlapping_labels_are_0_and_1(name: str):
    loss = type(EVERY[name])(activation="sigmoid")  # pyright: ignore[reportCallIssue]
    y = Z.long()
    y[0, 1, 2, 3] = 2
    with pytest.raises(GraphError, match=r"holds a class(.|\n)*\[0, 2\](.|\n)*0 to 1, or 255"):
        loss(Z, y)


def test_without_a_value_to_ignore():
    with pytest.raises(GraphError, match=r"expected  0 to 2\n"):
        tvl.CrossEntropy(ignore_index=None)(Z, Y + 255)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: tvl.SoftDice(over="XI"), ("`over` of SoftDice", "XI", "I, CI, BI, BCI")),
        (lambda: tvl.Tversky(over=3), ("`over` of Tversky", "3", "I, CI, BI, BCI")),
        (lambda: tvl.SoftDice(smooth_nr=-1.0), ("`smooth_nr`", "-1", "at least 0")),
        (lambda: tvl.SoftDice(smooth_dr=0.0), ("`smooth_dr`", "0.0", "above 0")),
        (lambda: tvl.SoftDice(smooth_dr=math.nan), ("`smooth_dr`", "nan", "above 0")),
        (lambda: tvl.SoftDice(smooth_nr=()), ("`smooth_nr`", "()")),
        (lambda: tvl.SoftDice("CI", (1.0, 2.0)), ("`smooth_nr`", "one set holds several classes", "'CI'")),
        (lambda: tvl.SoftDice("I", (1.0, 2.0, 3.0))(Z, Y), ("Smoothing has one number", "2 numbers")),
        (lambda: tvl.Tversky(alpha=-0.1), ("`alpha` and `beta`", "-0.1", "0 or more")),
        (lambda: tvl.Tversky(alpha=0, beta=0), ("`alpha` and `beta`", "not both 0")),
        (lambda: tvl.FocalTversky(gamma=0.0), ("`gamma` of a focal Tversky", "0.0", "above 0")),
        (lambda: tvl.DicePlusPlus(gamma=0.5), ("`gamma` of Dice++", "0.5", "1 or more")),
        (lambda: tvl.Focal(gamma=-1.0), ("`gamma` of a focal loss", "-1.0", "0 or more")),
        (lambda: tvl.CrossEntropy(weight=(1, math.nan)), ("Class weights", "nan")),
        (lambda: tvl.CrossEntropy(weight=(1, 2))(Z, Y), ("One weight per class", "(1.0, 2.0)", "3 weights")),
        (lambda: tvl.Focal(weight=(1, 2, 3))(Z[:, :1], Y), ("One weight per class", "2 weights")),
        (lambda: tvl.GeneralisedDice(over="I"), ("`over` of generalised Dice", "CI or BCI")),
        (lambda: tvl.GeneralisedDice(power=-1.0), ("generalised Dice", "'power': -1.0")),
        (lambda: tvl.GeneralisedDice(smooth_dr=0.0), ("generalised Dice", "smooth_dr above 0")),
        (lambda: tvl.UnifiedFocal(share=1.5), ("unified focal", "'share': 1.5", "from 0 to 1")),
        (lambda: tvl.UnifiedFocal(gamma=1.0), ("unified focal", "'gamma': 1.0", "below 1")),
        (lambda: tvl.LeafDice(smooth_dr=0.0), ("`smooth_dr`", "0.0", "above 0")),
        (lambda: tvl.expected_volumes([]), ("Counts of voxels", "a row per image")),
        (lambda: tvl.expected_volumes([[1, 2], [3]]), ("Counts of voxels", "a row per image")),
        (lambda: tvl.expected_volumes([[1, -2]]), ("Counts of voxels", "0 or more")),
    ],
)
def test_settings(make: Callable[[], object], says: tuple[str, ...]):
    with pytest.raises(GraphError) as caught:
        make()
    for words in says:
        assert words in str(caught.value)


@pytest.mark.parametrize("name", EVERY)
def test_every_loss_knows_its_activations(name: str):
    with pytest.raises(
        GraphError, match=r"`activation` of a loss(.|\n)*relu(.|\n)*'sigmoid', 'softmax' or None"
    ):
        type(EVERY[name])(activation="relu")  # pyright: ignore[reportCallIssue]
