"""Boundary loss by a search for the nearest voxel; soft clDice against MONAI."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from truevox.errors import GraphError
from truevox.losses.shape import Boundary, SoftClDice

torch.set_num_threads(1)


def _nearest(inside: np.ndarray, spacing: tuple[float, ...]) -> np.ndarray:
    """Signed distances by looking at every pair of voxels."""
    places = np.argwhere(np.ones_like(inside)) * np.array(spacing)
    apart = np.linalg.norm(places[:, None] - places[None], axis=2)
    other = inside.ravel()[:, None] != inside.ravel()[None]
    return np.where(other, apart, np.inf).min(1) * np.where(inside.ravel(), -1, 1)


@pytest.mark.parametrize("spacing", [None, (0.7, 3.0)])
def test_boundary_by_search(spacing):
    torch.manual_seed(0)
    z, y = torch.randn(2, 3, 6, 5, requires_grad=True), torch.randint(0, 3, (2, 6, 5))
    maps = [[_nearest((y[b] == c).numpy(), spacing or (1, 1)) for c in (1, 2)] for b in (0, 1)]
    wanted = (z.softmax(1)[:, 1:].flatten(2) * torch.tensor(np.array(maps))).mean()
    made = Boundary(spacing)(z, y)
    assert float(made.detach()) == pytest.approx(float(wanted.detach()), abs=1e-5)
    (a,), (b,) = torch.autograd.grad(made, z), torch.autograd.grad(wanted, z)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


@pytest.mark.parametrize("value", [0, 1])
def test_no_border_no_boundary_loss(value: int):
    z = torch.randn(1, 1, 4, 4, 4)
    assert float(Boundary()(z, torch.full((1, 4, 4, 4), value))) == 0


@pytest.mark.parametrize("shape", [(12, 14), (8, 9, 10)])
def test_cldice_is_monais(shape: tuple[int, ...]):
    """One channel and one image at a time, as MONAI sums over classes; its 1e-4 is made small."""
    from monai.losses.cldice import SoftclDiceLoss

    torch.manual_seed(1)
    p, y = torch.rand(1, 1, *shape, requires_grad=True), (torch.rand(1, 1, *shape) > 0.4).float()
    made = SoftClDice().on_probabilities(p, y)
    wanted = SoftclDiceLoss(smooth=1e-12)(p, y)
    assert float(made.detach()) == pytest.approx(float(wanted.detach()), abs=1e-6)
    (a,), (b,) = torch.autograd.grad(made, p), torch.autograd.grad(wanted, p)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_missing_labels_give_no_loss_of_shape():
    torch.manual_seed(2)
    z, y = torch.randn(1, 2, 8, 8), torch.randint(0, 2, (1, 2, 8, 8))
    present = torch.tensor([[True, False]])
    for make in (Boundary, SoftClDice):
        alone = make()(z[:, :1], y[:, 0])
        both = make(activation="sigmoid")(z, y, label_present=present)
        assert float(both) == pytest.approx(float(alone), abs=1e-6)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Boundary((1.0, 0.0)), "spacing of a boundary loss is above 0"),
        (
            lambda: Boundary((1.0,))(torch.zeros(1, 1, 2, 2), torch.zeros(1, 2, 2).long()),
            "one number per axis",
        ),
        (lambda: SoftClDice(-1), "Settings of a soft clDice"),
        (lambda: SoftClDice(smooth=0), "Settings of a soft clDice"),
        (lambda: SoftClDice()(torch.zeros(1, 1, 4), torch.zeros(1, 4).long()), "2 or 3 axes"),
        (lambda: SoftClDice()(torch.full((1, 1, 4, 4), torch.nan), torch.zeros(1, 4, 4).long()), "NaN"),
    ],
)
def test_bad_input(make, says: str):
    with pytest.raises(GraphError, match=says):
        make()
