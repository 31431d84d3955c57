# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportReturnType=false
"""A model as a folder, and its predictions: on the stored grid, within the stated memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import Identity, affine_of, cohort_on_disk, small_model, small_net
from hypothesis import given, settings
from strategies import grids
from torch import nn

import truevox as tv
from truevox import FileError, GraphError, Grid, Image, Labels
from truevox.networks import LatticeMap
from truevox.pipeline import Pointwise, node


@node
class Shifted(Pointwise):
    """A node of a user."""

    by: float = 1.0

    def values(self, frame, rng):  # type: ignore[no-untyped-def]
        return lambda x: x + self.by


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return next(iter(cohort_on_disk(tmp_path_factory.mktemp("cohort"), 1)))


@pytest.fixture
def saved(tmp_path) -> Path:
    small_model().save(tmp_path / "model")
    return tmp_path / "model"


def test_a_loaded_model_predicts_and_draws_the_same(case, saved):
    model, again = small_model(), tv.Model.load(saved)
    assert torch.equal(model.predict(case)["mask"].data, again.predict(case)["mask"].data)
    assert [model.plan.name(c) for c in model.plan.calls] == [again.plan.name(c) for c in again.plan.calls]
    assert again.loss_function == tv.losses.CrossEntropy()
    assert (again.inputs, again.targets) == (model.inputs, model.targets) == (["image"], {"mask": "mask"})
    assert sorted(p.name for p in saved.iterdir()) == ["graph.json", "weights.safetensors"]
    # It trains on, with the same samples.
    assert (
        again.pairs[0][1].signature == model.pairs[0][1].signature
        or again.pairs[0][1].signature.kind == "label"
    )


def test_a_fresh_process_loads_a_model(saved):
    # Nothing but the loading itself may be needed to know the transforms that a graph names.
    code = f"import truevox as tv; print(tv.Model.load({str(saved)!r}).inputs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "['image']", done.stderr


def test_a_saved_model_is_plain_data(saved):
    described = json.loads((saved / "graph.json").read_text())
    assert described["graph"]["format"] == 1
    assert {op["class"] for op in described["graph"]["ops"]} >= {
        "Read",
        "ZScore",
        "RandomCrop",
        "Network",
        "Put",
    }


def _edit(saved: Path, change) -> None:
    described = json.loads((saved / "graph.json").read_text())
    change(described)
    (saved / "graph.json").write_text(json.dumps(described))


def _rename(described) -> None:
    op = next(o for o in described["graph"]["ops"] if o["class"] == "ZScore")
    op["class"] = "os.system"


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (_rename, GraphError, "not part of TrueVox: os.system"),
        (lambda d: d["graph"].update(format=2), GraphError, "newer than this version"),
        (lambda d: d["weights"].update(sha256="0" * 64), FileError, "has changed"),
        (lambda d: d.pop("weights"), FileError, "can't be read"),
        (lambda d: d["loss"].update({"class": "eval"}), GraphError, "not part of TrueVox: eval"),
        (lambda d: d["graph"]["ops"][0]["fields"].update(colour="red"), FileError, "damaged|can't be read"),
        (lambda d: d["graph"]["calls"][0].pop("op"), FileError, "damaged|can't be read"),
    ],
)
def test_a_bad_graph_is_refused(saved, change, error, text):
    _edit(saved, change)
    with pytest.raises(error, match=text):
        tv.Model.load(saved)


def test_changed_or_missing_files_are_refused(saved):
    weights = saved / "weights.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(FileError, match="has changed") as caught:
        tv.Model.load(saved)
    assert caught.value.file == str(weights)
    weights.unlink()
    with pytest.raises(FileError, match="can't be read"):
        tv.Model.load(saved)
    (saved / "graph.json").write_text("{not json")
    with pytest.raises(FileError, match="can't be read"):
        tv.Model.load(saved)
    with pytest.raises(FileError, match="no model folder"):
        tv.Model.load(saved / "nowhere")


def test_foreign_parts_must_be_given(case, tmp_path):
    x = tv.Input("image")
    module = nn.Conv3d(1, 1, 3, padding=1)
    net = tv.Network(module, lattice=(LatticeMap.identity(3),))
    full = tv.Put(like=x)(tv.Sigmoid()(net(tv.GridCrop(8)(Shifted(2.5)(x)))))
    model = tv.Model(None, {"out": full})
    model.save(tmp_path / "m")
    with pytest.raises(GraphError, match="not part of TrueVox: Shifted"):
        tv.Model.load(tmp_path / "m")
    with pytest.raises(GraphError, match=r"network 'Network_1' is not part") as caught:
        tv.Model.load(tmp_path / "m", nodes=[Shifted])
    assert "networks=" in str(caught.value)
    with pytest.raises(FileError, match="do not fit"):
        tv.Model.load(tmp_path / "m", nodes=[Shifted], networks={"Network.1": nn.Conv3d(1, 1, 5)})
    blank = nn.Conv3d(1, 1, 3, padding=1)
    again = tv.Model.load(tmp_path / "m", nodes=[Shifted], networks={"Network.1": blank})
    assert torch.equal(blank.weight, module.weight)
    assert torch.equal(model.predict(case)["out"].data, again.predict(case)["out"].data)


def test_two_nodes_of_one_module_share_it_after_loading(case, tmp_path):
    x = tv.Input("image")
    module = small_net()
    a = tv.Put(like=x)(tv.Sigmoid()(tv.Network(module)(tv.GridCrop(8)(x))))
    b = tv.Put(like=x)(tv.Sigmoid()(tv.Network(module)(tv.GridCrop(8, 0.2)(x))))
    model = tv.Model(None, {"a": a, "b": b})
    model.save(tmp_path / "m")
    again = tv.Model.load(tmp_path / "m")
    for name in ("a", "b"):
        assert torch.equal(model.predict(case)[name].data, again.predict(case)[name].data)


def test_what_is_no_plain_data_is_refused(tmp_path):
    x = Shifted(by=lambda: 1)(tv.Input("image"))  # type: ignore[arg-type]
    with pytest.raises(GraphError, match="plain data"):
        tv.Model(None, {"out": x}).save(tmp_path / "m")


# ---- predictions


@given(grids(3, 4, 9))
@settings(max_examples=20)
def test_predictions_lie_on_the_stored_grid_exactly(grid: Grid):
    """Whatever the orientation of the file, and resampling, flips and crops in between."""
    scan = tv.Input("scan")
    turned = tv.RandomFlip(axes=(0, 1), probability=1.0)(tv.Resample(1.5)(tv.ZScore()(scan)))
    net = tv.Network(Identity(), kind="scalar", lattice=(LatticeMap.identity(3),))
    model = tv.Model(None, {"out": tv.Put(like=scan)(net(tv.GridCrop(5)(turned)))})
    header = object()
    x = Image(torch.rand(1, *grid.shape), grid)
    out = model.predict({"scan": x})["out"]
    assert out.grid == grid
    assert out.shape == x.shape
    del header


@pytest.mark.parametrize("codes", ["LAS", "PSR", "RAS", "IPL"])
def test_predictions_return_to_the_file(codes: str, tmp_path):
    import nibabel as nib

    affine = affine_of(codes, (1, 1.5, 2), (7, -3, 2))
    data = np.random.default_rng(0).normal(size=(8, 7, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "x.nii")
    (tmp_path / "c.csv").write_text("case,scan\na,x.nii\n")
    case = next(iter(tv.Cohort.from_csv(tmp_path / "c.csv")))
    scan = tv.Input("scan")
    net = tv.Network(Identity(), kind="scalar", lattice=(LatticeMap.identity(3),))
    out = tv.Model(None, {"o": tv.Put(like=scan)(net(tv.GridCrop(4)(scan)))}).predict(case)["o"]
    assert out.grid == case.header("scan").grid
    assert np.array_equal(out.numpy()[0], data)
    tv.save(out, tmp_path / "out.nii")
    back = nib.load(tmp_path / "out.nii")
    assert np.array_equal(back.affine, nib.load(tmp_path / "x.nii").affine)
    assert np.array_equal(np.asarray(back.dataobj).reshape(data.shape), data)
    # An output that ends on another image's grid by Like comes back to that one's file too.
    like = tv.Model(None, {"o": tv.Like(scan)(tv.Resample(1.1)(scan))}).predict(case)["o"]
    assert like.grid == case.header("scan").grid


def test_predictions_may_be_changed_in_place(case):
    out = small_model().predict(case)["mask"]
    out.data.mul_(0)
    assert float(out.data.sum()) == 0


def test_prediction_leaves_training_mode_alone(case):
    model = small_model()
    model.module_dict.train()
    model.predict(case)
    assert model.module_dict.training


def test_batch_size_changes_no_prediction(case):
    model = small_model()
    one, many = (model.predict(case, batch_size=b)["mask"].data for b in (1, 5))
    torch.testing.assert_close(one, many, atol=1e-6, rtol=0)


def test_an_ensemble_is_a_mean_of_probabilities(case):
    x = tv.Input("image")
    nets = [tv.Network(small_net(seed)) for seed in (1, 2)]
    tiles = tv.GridCrop(8)(tv.ZScore()(x))
    members = [tv.Sigmoid()(net(tiles)) for net in nets]
    outputs = {"mean": tv.Mean()(*members), "a": members[0], "b": members[1]}
    model = tv.Model(None, {k: tv.Put(like=x)(v) for k, v in outputs.items()})
    out = model.predict(case)
    assert not torch.equal(out["a"].data, out["b"].data)
    torch.testing.assert_close(out["mean"].data, (out["a"].data + out["b"].data) / 2, atol=1e-6, rtol=0)


def test_a_classifier_ends_on_one_voxel(case):
    module = nn.Sequential(
        nn.Conv3d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    x = tv.Input("image")
    out = tv.Model(None, {"grade": tv.Network(module)(tv.ZScore()(x))}).predict(case)["grade"]
    grid = case.header("image").grid
    assert out.shape == (2, 1, 1, 1)
    assert out.kind == "logits"
    np.testing.assert_allclose(out.grid.centre, grid.centre, atol=1e-6)
    np.testing.assert_allclose(np.sort(out.grid.spacing), np.sort(grid.spacing * grid.shape), rtol=1e-6)


def test_not_finite_output_is_an_error_with_a_remedy(case):
    class Bad(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x / 0.0 * 0.0

    x = tv.Input("image")
    net = tv.Network(Bad(), kind="scalar", lattice=(LatticeMap.identity(3),))
    model = tv.Model(None, {"out": tv.Put(like=x)(net(tv.GridCrop(8)(x)))})
    with pytest.raises(tv.CaseError, match="not finite") as caught:
        model.predict(case)
    assert caught.value.case == "c0"


# ---- what is refused when a model is built


def _parts():
    x, y = tv.Input("image"), tv.Input("mask", kind="label")
    return x, y, tv.Network(small_net())


def _build(what: str):
    x, y, net = _parts()
    tiles = tv.GridCrop(8)(x)
    brain = Labels({"left": 1, "right": 2}, swap=[("left", "right")])
    if what == "fanned out":
        return tv.Model(None, {"o": net(tiles)})
    if what == "sigmoid":
        return tv.Model((tv.Sigmoid()(net(x)), y), {})
    if what == "tiles":
        return tv.Model((net(tiles), y), {})
    if what == "swap":
        return tv.Model(
            (tv.Network(tv.networks.UNet(1, 3, channels=(2, 4)))(x), tv.Input("m", "label", labels=brain)), {}
        )
    if what == "channels":
        return tv.Model((net(x), tv.Input("m", "label", labels=Labels({"a": 1, "b": 2}))), {})
    raise KeyError(what)


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("fanned out", "still fanned out"),
        ("sigmoid", "logits"),
        ("tiles", "no fan-out"),
        ("swap", "mirrored pairs"),
        ("channels", "label table"),
    ],
)
def test_refused_when_built(what: str, text: str):
    with pytest.raises(GraphError, match=text):
        _build(what)


# ---- words


def test_summary_states_grids_and_memory(case):
    text = small_model().summary(case)
    for part in ("Network.1", "14x12x10", "8x8x8", "field of view", "MiB", "cached", "random"):
        assert part in text
    assert "Network.1" in small_model().summary()


def test_memory_by_hand(case):
    need = small_model().memory(case, batch_size=4)
    voxels = 14 * 12 * 10
    # One Put of one channel: mean and weights; it is turned into the storage order where it is.
    assert need.accumulators == 4 * voxels * (1 + 1)
    assert need.total == sum(v for k, v in need.parts().items() if k != "total")
    double = small_model().memory(case, batch_size=8)
    assert double.activations == pytest.approx(2 * need.activations, rel=0.1)
    assert double.accumulators == need.accumulators


# ---- names, inputs and channels of networks ---------------------------------------------------


def _both(first: tv.Network, second: tv.Network) -> tv.Model:
    scan = tv.Input("scan")
    patches = tv.GridCrop(8)(scan)
    both = tv.Mean()(tv.Sigmoid()(first(patches)), tv.Sigmoid()(second(patches)))
    return tv.Model(train=None, predict={"out": tv.Put(like=scan)(both)})


@pytest.mark.parametrize(("name", "text"), [("Network_1", "'Network.1' and 'Network_1'"), ("keys", "'keys'")])
def test_names_that_a_file_could_not_tell_apart_are_refused(name: str, text: str):
    plain, named = tv.Network(nn.Conv3d(1, 1, 1)), tv.Network(nn.Conv3d(1, 1, 1), name=name)
    with pytest.raises(GraphError, match=text):
        _both(plain, named)


@pytest.mark.parametrize("depth", [5000, 300])
def test_a_graph_nested_too_deeply_is_damaged(saved, depth: int):
    path = saved / "graph.json"
    text = json.loads(path.read_text())
    text["loss"] = text["graph"]["ops"][0]["fields"] = None
    deep = "[" * depth + "]" * depth
    path.write_text(json.dumps(text).replace('"loss": null', f'"loss": {deep}'))
    with pytest.raises(FileError, match="graph"):
        tv.Model.load(saved)


class _Two(nn.Module):
    in_channels = out_channels = 1

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(2, 1, 1)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cat([x, y], 1))


def test_a_network_of_two_inputs_needs_a_lattice_and_then_works_everywhere():
    a, b = tv.Input("a"), tv.Input("b")
    patches = tv.GridCrop(8)(a, b)
    with pytest.raises(GraphError, match=r"several inputs[^$]*lattice="):
        tv.Network(_Two())(*patches)
    net = tv.Network(_Two(), lattice=[tv.networks.LatticeMap.identity(3)])
    model = tv.Model(train=None, predict={"out": tv.Put(like=a)(tv.Sigmoid()(net(*patches)))})
    grid = tv.Grid((12, 12, 12))
    case = {name: tv.Image(torch.zeros(1, 12, 12, 12), grid) for name in "ab"}
    assert model.predict(case)["out"].grid.shape == (12, 12, 12)
    # Two inputs, the two together, and the output of one channel: 8^3 voxels of 4 bytes each.
    assert model.memory(case).activations >= 4 * 8**3 * (2 + 2 + 1)
    assert "stride 1x1x1 (declared)" in model.summary(case)


@pytest.mark.parametrize("ask", ["predict", "memory", "summary", "dry_run"])
def test_a_patch_size_that_can_not_be_is_refused_by_all_that_ask(ask: str):
    scan, network = tv.Input("scan"), tv.Network(tv.networks.UNet(1, 1, channels=(4, 8)))
    full = tv.Put(like=scan)(tv.Sigmoid()(network(tv.GridCrop(15)(scan))))
    model = tv.Model(train=None, predict={"out": full})
    with pytest.raises(GraphError, match="can't produce that patch size"):
        getattr(model, ask)({"scan": tv.Image(torch.zeros(1, 20, 21, 22), tv.Grid((20, 21, 22)))})


def test_another_number_of_channels_is_told_when_the_graph_is_built():
    scan = tv.Image(torch.zeros(1, 8, 8, 8), tv.Grid((8, 8, 8)))
    with pytest.raises(GraphError, match=r"Sequential\) takes another number of channels[^$]*tv.Stack"):
        tv.Network(nn.Sequential(nn.Conv3d(2, 1, 1)))(scan)


def test_what_a_module_refuses_says_shapes():
    class Odd(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.is_meta else x @ torch.zeros(5, 5)

    scan = tv.Image(torch.zeros(1, 8, 8, 8), tv.Grid((8, 8, 8)))
    with pytest.raises(GraphError, match=r"Odd\) refused its input[^$]*\(1, 1, 8, 8, 8\)"):
        tv.Network(Odd())(scan)
