"""A recipe says what is wrong by key, and builds the graph that one would write in Python."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import truevox as tv
from truevox.errors import FileError, SettingsError
from truevox.pipeline.cases import as_case
from truevox.pipeline.draws import Draw
from truevox.pipeline.graph import Node, Transform
from truevox.pipeline.run import Frame, Run
from truevox.recipe import Recipe
from truevox.transforms.inputs import Read

SMALL = {
    "images": ["flair", "t1"],
    "label": "tumour",
    "patch": {"size": 8},
    "network": {"channels": [2, 4], "norm": None},
}


def small(**changes: object) -> Recipe:
    return Recipe.from_dict({**SMALL, **changes})


def graph_of(model: tv.Model, folder: Path) -> dict:
    model.save(folder)
    return json.loads((folder / "graph.json").read_text())


# ---- errors ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("assignment", "key", "right"),
    [
        ("train.batch_size=two", "train.batch_size", "integer"),
        ("train.batch_size=0", "train.batch_size", "greater than 0"),
        ("train.learning_rate=-1", "train.learning_rate", "greater than 0"),
        ("train.learning_rate=.inf", "train.learning_rate", "finite"),
        ("train.schedule=linear", "train.schedule", "'poly', 'cosine', 'constant' or 'onecycle'"),
        ("patch.size=[8, 0]", "patch.size", "a whole number of voxels above 0, or one per axis"),
        ("patch.size=2.5", "patch.size", "a whole number of voxels above 0, or one per axis"),
        ("patch.foreground=1.5", "patch.foreground", "less than or equal to 1"),
        ("spacing=[1, 2]", "spacing", "millimetres above 0: one number, or three"),
        ("augment.rotation=[1, 2]", "augment.rotation", "a number of at least 0, or three"),
        ("augment.flip=[3]", "augment.flip.0", "0, 1 or 2"),
        ("augment.shear=-1", "augment.shear", "a number of at least 0, or three"),
        (
            "augment.elastic={displacement: x}",
            "augment.elastic.displacement",
            "a range [low, high], or three",
        ),
        ("augment.elastic.spacing=0", "augment.elastic.spacing", "millimetres above 0"),
        ("augment.contrast=-1", "augment.contrast", "a number of at least 0, or a range"),
        ("augment.brightness=x", "augment.brightness", "a number, or a range"),
        ("augment.bias_field.wavelength=[0, 9]", "augment.bias_field.wavelength.0", "greater than 0"),
        ("augment.blur.sigma=[1, 2, 3]", "augment.blur.sigma", "a number of at least 0, or a range"),
        ("augment.blur.probability=2", "augment.blur.probability", "less than or equal to 1"),
        ("augment.anisotropy.axes=[]", "augment.anisotropy.axes", "at least 1"),
        ("augment.low_resolution=[-1, 2]", "augment.low_resolution", "a number of at least 0, or a range"),
        ("augment.cutout.count=0", "augment.cutout.count", "greater than 0"),
        ("patch.class_weights={tumour: -1}", "patch.class_weights.tumour", "greater than or equal to 0"),
        ("train.mix_up=-1", "train.mix_up", "greater than or equal to 0"),
        ("normalise.clip=[5, 1]", "normalise", "low below high"),
        ("normalise.clip=[5, 101]", "normalise", "between 0 and 100"),
        ("network.strides=x", "network.strides", "one per level"),
        ("predict.overlap=1", "predict.overlap", "less than 1"),
        ("loss={}", "loss", "at least one term"),
        ("loss={soft_dice: 0}", "loss", "at least one term"),
        ("labels={tumour: 0}", "labels", "background"),
        ("labels={tumour: x}", "labels.tumour", "a whole number, or a list of them"),
        ("labels={names: {a: 1}, swap: [[a, b]]}", "labels", "classes that the table lacks"),
        ("images=[]", "images", "at least 1"),
    ],
)
def test_a_bad_value_names_its_key_and_what_would_be_right(assignment, key, right):
    with pytest.raises(SettingsError) as caught:
        small().with_overrides([assignment])
    assert f"key '{key}'" in caught.value.message
    assert right in str(caught.value)
    assert caught.value.got is not None


@pytest.mark.parametrize(
    ("assignment", "remedy"),
    [
        ("train.batchsize=2", "did you mean 'train.batch_size'?"),
        ("trian.max_steps=2", "did you mean 'train'?"),
        ("augment.blur.sigm=1", "did you mean 'augment.blur.sigma'?"),
        ("loss.soft_dice.ovr=I", "did you mean 'loss.soft_dice.over'?"),
        ("quite.different=1", "remove it"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(assignment, remedy):
    with pytest.raises(SettingsError) as caught:
        small().with_overrides([assignment])
    assert caught.value.message == f"The recipe has no key '{_unknown(assignment)}'."
    assert caught.value.remedy == remedy


def _unknown(assignment: str) -> str:
    path = assignment.partition("=")[0]
    return path.split(".")[0] if path.startswith(("trian", "quite")) else path


def test_several_mistakes_are_told_at_once():
    with pytest.raises(SettingsError) as caught:
        Recipe.from_dict({"images": ["a"], "train": {"seed": -1, "epochs": 3}})
    text = str(caught.value)
    assert "3 mistakes" in text
    assert all(f"'{key}'" in text for key in ("label", "train.seed", "train.epochs"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"images": ["a", "a"]}, "different columns"),
        ({"images": ["tumour"]}, "the label is no image"),
        ({"images": ["a"], "patch": {"avoid": "a"}}, "a column of masks"),
        ({"label": "../up"}, "names the files"),
        ({"loss": {"cross_entropy": {"class_weights": [1, 2, 3]}}}, "class_weights are 2 numbers"),
        ({"train": {"mix_up": 0.2, "batch_size": 1}}, "mix_up needs two samples"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(changes, why):
    with pytest.raises(SettingsError, match=why):
        small(**changes)


def test_steps_and_epochs_exclude_each_other():
    assert small(train={"max_epochs": 3}).fit_options()["max_steps"] is None
    assert small(train={"batch_size": 1}).with_overrides(["train.max_epochs=3"]).max_steps is None
    with pytest.raises(SettingsError, match="not both"):
        small(train={"max_epochs": 3, "max_steps": 4})


# ---- files ----------------------------------------------------------------------


def written(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("images: [a\n", "no YAML in line"),
        ("", "no mapping"),
        ("- images\n", "no mapping"),
        ("images: [a]\nlabel: b\nlabel: c\n", "the key 'label' is there twice"),
        ("images: !!python/object/apply:os.system ['true']\n", "no YAML in line 1"),
    ],
)
def test_text_that_is_no_recipe(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        Recipe.from_yaml(written(tmp_path, text))
    assert caught.value.file == str(tmp_path / "recipe.yaml")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileError, match="can't be read") as caught:
        Recipe.from_yaml(tmp_path / "none.yaml")
    assert caught.value.file == str(tmp_path / "none.yaml")


def test_an_error_in_a_file_names_the_file(tmp_path):
    with pytest.raises(SettingsError) as caught:
        Recipe.from_yaml(written(tmp_path, "images: [a]\nlabel: b\nsize: 3\n"))
    assert caught.value.file == str(tmp_path / "recipe.yaml")


def test_yaml_that_reads_numbers_as_words_still_gives_numbers(tmp_path):
    """YAML 1.1 takes 1e-3 for a word."""
    recipe = Recipe.from_yaml(written(tmp_path, "images: a\nlabel: b\ntrain: {learning_rate: 1e-3}\n"))
    assert recipe.train.learning_rate == 0.001
    assert recipe.images == ["a"]


def test_the_resolved_recipe_is_the_same_recipe(tmp_path):
    recipe = small(
        labels={"core": 1, "rim": [2, 4]}, augment={"rotation": [3, 15, 3]}, predict={"overlap": 0.25}
    )
    recipe.to_yaml(tmp_path / "all.yaml")
    again = Recipe.from_yaml(tmp_path / "all.yaml")
    assert again.resolved() == recipe.resolved()
    assert again.digest == recipe.digest
    assert recipe.differences(again) == []


def test_the_digest_ignores_workers_and_nothing_else():
    recipe = small()
    assert recipe.with_overrides(["train.workers=2"]).digest == recipe.digest
    other = recipe.with_overrides(["train.seed=1"])
    assert other.digest != recipe.digest
    assert other.differences(recipe) == ["train.seed: 1, not 0"]


@pytest.mark.parametrize("assignment", ["train.seed", "=3", "train..seed=3"])
def test_an_assignment_needs_a_key_and_a_value(assignment):
    with pytest.raises(SettingsError, match="key=value"):
        small().with_overrides([assignment])


def test_an_assignment_does_not_run_through_a_value():
    with pytest.raises(SettingsError, match="'label' holds a value"):
        small().with_overrides(["label.name=x"])


def test_overrides_are_typed_by_yaml_and_the_last_one_wins():
    recipe = small().with_overrides(
        [
            "augment.flip=[0, 2]",
            "train.gradient_clip=null",
            "train.seed=1",
            "train.seed=2",
            "loss.soft_dice=0.5",
        ]
    )
    assert recipe.augment.flip == [0, 2]
    assert recipe.train.gradient_clip is None
    assert recipe.train.seed == 2
    assert recipe.loss.soft_dice is not None
    assert recipe.loss.soft_dice.weight == 0.5


# ---- the graph ----------------------------------------------------------------------


def test_it_builds_the_graph_that_one_would_write_in_python(tmp_path):
    recipe = small(
        normalise={"mask": "nonzero", "clip": [0.5, 99.5]},
        patch={"size": 8, "foreground": 0.7},
        augment={
            "rotation": 10,
            "scaling": 0.1,
            "flip": [0],
            "gamma": 0.3,
            "noise": 0.1,
            "noise_probability": 0.5,
        },
        loss={"cross_entropy": 1.0, "soft_dice": {"weight": 0.5, "over": "BI", "smooth_nr": 1.0}},
        train={"seed": 7},
        predict={"size": 12, "overlap": 0.25},
    )
    torch.manual_seed(7)
    module = tv.networks.UNet(2, 1, channels=[2, 4], norm=None)
    table = tv.Labels({"tumour": 1})
    flair, t1, tumour = tv.Input("flair"), tv.Input("t1"), tv.Input("tumour", kind="label", labels=table)
    ready = [tv.ZScore(mask="nonzero")(tv.Clip(0.5, 99.5, unit="percentile")(x)) for x in (flair, t1)]
    scan = tv.Stack()(*ready)
    x, y = tv.RandomCrop(8, centre_on=tumour, foreground=0.7)(scan, tumour)
    x, y = tv.RandomFlip(axes=(0,))(*tv.RandomAffine(rotation=10.0, scaling=0.1)(x, y))
    net = tv.Network(module, labels=table)
    p = net(tv.RandomNoise(0.1, probability=0.5)(tv.RandomGamma(0.3)(x)))
    full = tv.Put(like=flair)(tv.Sigmoid()(net(tv.GridCrop(12, overlap=0.25)(scan))))
    loss = tv.losses.CrossEntropy() + 0.5 * tv.losses.SoftDice(over="BI", smooth_nr=1.0)
    by_hand = tv.Model(train=(p, y), predict={"tumour": full}, loss=loss)
    # Weights are part of it: graph.json holds their SHA-256.
    assert graph_of(recipe.build(), tmp_path / "recipe") == graph_of(by_hand, tmp_path / "hand")


def nodes(model: tv.Model) -> list[str]:
    return [type(call.op).__name__ for call in model.plan.calls]


def test_what_the_recipe_leaves_out_is_not_in_the_graph():
    names = nodes(small(images=["flair"], normalise={"method": "none"}).build())
    assert not {"Stack", "ZScore", "Clip", "RandomAffine", "RandomFlip", "RandomGamma", "RandomNoise"} & set(
        names
    )


LOOKS = {
    "contrast": (
        {"factor": [0.5, 1.5], "probability": 0.15},
        tv.RandomContrast((0.5, 1.5), probability=0.15),
    ),
    "brightness": ([-0.2, 0], tv.RandomBrightness((-0.2, 0.0))),
    "bias_field": ({"strength": 0.4, "waves": 3}, tv.RandomBiasField(0.4, waves=3)),
    "blur": ({"sigma": 1.5, "probability": 0.2}, tv.RandomBlur(1.5, probability=0.2)),
    "anisotropy": ({"axes": [2]}, tv.RandomAnisotropy(axes=(2,))),
    "low_resolution": ({"spacing": [1, 3]}, tv.RandomLowResolution((1.0, 3.0))),
    "motion": ({"rotation": [0, 0, 8], "movements": 3}, tv.RandomMotion((0.0, 0.0, 8.0), movements=3)),
    "ghosting": ({"copies": 4, "axes": [1]}, tv.RandomGhosting(copies=4, axes=(1,))),
    "gibbs": ([0.5, 0.9], tv.RandomGibbs((0.5, 0.9))),
    "spike": ({"spikes": 2, "probability": 0.1}, tv.RandomSpike(spikes=2, probability=0.1)),
    "cutout": ({"count": 2, "size_mm": 9}, tv.RandomCutout(2, size_mm=9.0)),
    "elastic": ({"displacement": [2, 6], "spacing": 24}, tv.RandomElastic((2.0, 6.0), 24.0)),
}
"""What a recipe says, and the node that one would write."""


def looks(model: tv.Model) -> list[Transform]:
    return [c.op for c in model.plan.calls if type(c.op).__name__.startswith("Random")]


@pytest.mark.parametrize("key", LOOKS)
def test_a_key_of_augment_is_a_node_with_these_parameters(tmp_path, key):
    said, node = LOOKS[key]
    recipe = small(augment={key: said})
    crop, made = looks(recipe.build())
    assert type(crop) is tv.RandomCrop
    assert (type(made), settings_of(made)) == (type(node), settings_of(node))
    recipe.to_yaml(tmp_path / "recipe.yaml")
    again = Recipe.from_yaml(tmp_path / "recipe.yaml")
    assert (again.augment, again.digest) == (recipe.augment, recipe.digest)
    (_, once_more) = looks(again.build())
    assert settings_of(once_more) == settings_of(node)


def settings_of(node: Transform) -> dict[str, object]:
    return {f.name: getattr(node, f.name) for f in dataclasses.fields(node)}


@pytest.mark.parametrize("key", LOOKS)
@pytest.mark.parametrize("off", [None, 0, {"probability": 0}])
def test_none_and_zero_are_off(key, off):
    assert [type(look) for look in looks(small(augment={key: off}).build())] == [tv.RandomCrop]


def test_looks_have_one_order_spatial_ones_first_and_noise_after_filters():
    everything = {key: said for key, (said, _) in LOOKS.items()}
    recipe = small(augment={"shear": [0, 5, 0], "flip": [0], "gamma": 0.2, "noise": 0.1, **everything})
    made = looks(recipe.build())
    assert [type(look).__name__.removeprefix("Random") for look in made] == [
        *("Crop", "Affine", "Flip", "Elastic", "Contrast", "Brightness", "Gamma", "BiasField", "Blur"),
        *("Anisotropy", "LowResolution", "Motion", "Ghosting", "Gibbs", "Spike", "Noise", "Cutout"),
    ]
    assert settings_of(made[1])["shear"] == (0, 5, 0)


@pytest.mark.parametrize(
    ("assignment", "key", "why"),
    [
        ("augment.elastic.displacement=20", "augment.elastic", "could fold"),
        ("augment.contrast=1.5", "augment.contrast", "makes a negative"),
        ("augment.blur=[2, 1]", "augment.blur", "low up to high"),
        ("augment.cutout=1.5", "augment.cutout", "within 0 and 1"),
        ("augment.scaling=1.5", "augment", "a zoom is positive"),
        ("augment.shear=90", "augment", "below 90 degrees"),
        ("patch.class_weights={liver: 2}", "patch", "a class that is not there"),
    ],
)
def test_what_a_node_refuses_names_the_key(assignment, key, why):
    with pytest.raises(SettingsError, match=why) as caught:
        small().with_overrides([assignment]).build()
    assert f"key '{key}'" in caught.value.message


def test_class_weights_are_those_of_the_crop():
    model = small(
        labels={"core": 1, "rim": [2, 4]}, patch={"size": 8, "class_weights": {"rim": 3, "core": 0}}
    ).build()
    (crop,) = looks(model)
    assert settings_of(crop)["class_weights"] == {2: 3.0, 4: 3.0, 1: 0.0}


@pytest.mark.parametrize("column", ["lesion", "tumour"])
def test_a_column_of_masks_can_be_avoided(column):
    """Half of the scan is masked: no patch has its centre there."""
    recipe = small(patch={"size": 4, "foreground": 0, "avoid": column}, images=["t1"])
    assert recipe.needs == list(dict.fromkeys(["t1", "tumour", column]))
    model = recipe.build()
    assert model.inputs == ["t1"]
    grid = tv.Grid((16, 16, 16))
    mask = torch.zeros(1, 16, 16, 16)
    mask[:, 6:] = 1
    case = {"t1": tv.Image(torch.rand(1, 16, 16, 16), grid)}
    case |= {name: tv.Image(mask, grid, "label") for name in recipe.needs[1:]}
    crop = next(c for c in model.plan.calls if isinstance(c.op, tv.RandomCrop))
    for k in range(20):
        frame = Frame([as_case(case)], [Draw(0, k)])
        made = Run(model.plan, networks=False).values(Node(crop), frame)[0].grid
        first = np.rint(grid.to_index(made.affine[:3, 3])[0])
        assert first + 1 < 6


def test_defaults_of_looks_are_those_of_the_nodes():
    for key, (_, node) in LOOKS.items():
        (_, made) = looks(small(augment={key: {}}).build())
        defaults = {f.name: f.default for f in dataclasses.fields(node)}
        assert settings_of(made) == defaults


def test_a_motion_is_off_if_nothing_moves():
    assert len(looks(small(augment={"motion": 0}).build())) == 1
    (_, shift) = looks(small(augment={"motion": {"rotation": 0, "translation": 5}}).build())
    assert settings_of(shift) == settings_of(tv.RandomMotion(0.0, 5.0))


def test_several_classes_get_a_softmax_and_regions_get_sigmoids():
    classes = small(labels={"anterior": 1, "posterior": 2}).build()
    assert classes.predictions["tumour"].signature.channels == 3
    assert "Softmax" in nodes(classes)
    regions = small(labels={"whole": [1, 2, 4], "core": [1, 4]}).build()
    assert regions.predictions["tumour"].signature.channels == 2
    assert "Sigmoid" in nodes(regions)
    # Each region by itself, at p = 1/2 where the truth is 1: ln 2, and a soft Dice of 2 (1/2) / (1/2 + 1).
    logits, target = torch.zeros(1, 2, 4, 4, 4), torch.ones(1, 2, 4, 4, 4)
    expected = float(torch.log(torch.tensor(2.0))) + 1 - 2 * 0.5 / 1.5
    assert float(regions.loss(logits, target)) == pytest.approx(expected, rel=1e-5)


def test_deep_supervision_trains_several_outputs_and_predicts_with_the_finest():
    model = small(network={"channels": [2, 4, 4], "norm": None, "deep_supervision": 2}).build()
    assert len(model.pairs) == 3
    assert model.output_weights == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    assert model.predictions["tumour"].call.inputs[0].call.inputs[0].index == 0


def test_weights_follow_from_the_seed_and_leave_torch_as_it_was():
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    first, same, other = (small(train={"seed": s}).build().module_dict.state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(torch.equal(first[k], same[k]) for k in first)
    assert any(not torch.equal(first[k], other[k]) for k in first)


@pytest.mark.parametrize(
    ("changes", "key", "expected"),
    [
        ({"patch": {"size": 9}}, "patch.size", r"\(8, 8, 8\) and larger \(10, 10, 10\)"),
        ({"predict": {"size": [8, 8, 11]}}, "predict.size", r"\(8, 8, 10\) and larger \(8, 8, 12\)"),
    ],
)
def test_a_size_that_the_network_cannot_produce_names_the_nearest(changes, key, expected):
    with pytest.raises(SettingsError, match=f"key '{key}'") as caught:
        small(**changes).build()
    assert caught.value.expected is not None
    assert re.search(expected, str(caught.value.expected))


def test_a_network_that_cannot_be_built_is_a_mistake_of_the_recipe():
    with pytest.raises(SettingsError, match="network can't be built"):
        small(network={"channels": [2, 4], "kernels": 2}).build()


def test_fit_options_are_arguments_of_fit():
    import inspect

    accepted = set(inspect.signature(tv.Model.fit).parameters)
    options = small(train={"precision": "bf16", "val_every": 0}).fit_options()
    assert set(options) <= accepted
    assert options["precision"] == "bf16"
    assert options["val_every"] is None
    assert small(train={"max_steps": 50}).fit_options()["val_every"] == 10


def test_defaults_are_those_of_what_they_end_up_in():
    import inspect

    recipe = small(network={})
    fit = inspect.signature(tv.Model.fit).parameters
    same = set(type(recipe.train).model_fields) & set(fit) - {"max_steps", "max_epochs"}
    assert {name: getattr(recipe.train, name) for name in same} == {name: fit[name].default for name in same}
    unet = inspect.signature(tv.networks.UNet).parameters
    for name, value in recipe.network.model_dump(exclude={"name"}).items():
        default = unet[name].default
        assert value == (list(default) if isinstance(default, tuple) else default)
    dice = {f.name: f.default for f in dataclasses.fields(tv.losses.SoftDice)}
    assert recipe.loss.soft_dice is not None
    assert recipe.loss.soft_dice.model_dump(exclude={"weight", "schedule"}).items() <= dice.items()


def test_every_loss_of_the_recipe_has_the_defaults_of_its_class():
    for name in type(small().loss).model_fields:
        made = small(loss={name: 2.0}).build().loss_function
        assert isinstance(made, tv.losses.LossSum)
        (factor, loss), *others = made.terms
        assert (factor, others) == (2.0, [])
        fields = dataclasses.fields(loss)  # pyright: ignore[reportArgumentType]
        # Of patches, a label that is nowhere in one was not annotated: that is what these two are for.
        chosen = {"infer_missing": True} if name in ("leaf_dice", "marginal_dice") else {}
        assert loss == type(loss)(**chosen), name
        assert {"schedule", "weight"}.isdisjoint(f.name for f in fields if f.name != "weight")


def test_settings_and_schedules_of_losses_reach_them():
    recipe = small(
        loss={
            "cross_entropy": {"class_weights": [1, 3]},
            "tversky": {"alpha": 0.3, "beta": 0.7, "schedule": [[100, 0], [200, 1]], "weight": 0.5},
        }
    )
    made = recipe.build().loss_function
    assert isinstance(made, tv.losses.LossSum)
    assert made.terms[0][1] == tv.losses.CrossEntropy(weight=(1, 3))
    assert made.at_step(150).terms[1] == (0.25, tv.losses.Tversky(alpha=0.3, beta=0.7))


# ---- grids ----------------------------------------------------------------------


def case(other: tv.Grid) -> dict[str, tv.Image]:
    first = tv.Grid((12, 12, 12))
    generator = torch.Generator().manual_seed(0)
    t1 = tv.Image(torch.rand(1, *other.shape, generator=generator), other)
    return {"flair": tv.Image(torch.rand(1, 12, 12, 12, generator=generator), first), "t1": t1}


def test_images_on_other_grids_are_refused_unless_aligned():
    other = (
        tv.Grid((6, 12, 12)).with_spacing(1.0).transformed(torch.diag(torch.tensor([2.0, 1, 1, 1])).numpy())
    )
    with pytest.raises(tv.GeometryError, match="not on the same grid"):
        small().build().predict(case(other))
    predicted = small(align=True).build().predict(case(other))["tumour"]
    assert predicted.grid == tv.Grid((12, 12, 12))


def test_resampled_scans_are_predicted_on_their_own_grid():
    images = case(tv.Grid((12, 12, 12)))
    predicted = small(spacing=1.5).build().predict(images)["tumour"]
    assert predicted.grid == images["flair"].grid
    assert bool(torch.isfinite(predicted.data).all())


# ---- label tables -----------------------------------------------------------------------------


def test_the_label_table_may_be_a_file_beside_the_recipe(tmp_path, monkeypatch):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "labels.tsv").write_text("index\tname\n0\tair\n4\tliver\n7\tspleen\n")
    (tmp_path / "recipe" / "recipe.yaml").write_text("images: [ct]\nlabel: organs\nlabels: labels.tsv\n")
    recipe = Recipe.from_yaml(tmp_path / "recipe" / "recipe.yaml")
    assert recipe.table == tv.Labels({"liver": 4, "spleen": 7})
    recipe.to_yaml(tmp_path / "resolved.yaml")
    assert Recipe.from_yaml(tmp_path / "resolved.yaml").digest == recipe.digest
    monkeypatch.chdir(tmp_path / "recipe")
    assert recipe.with_overrides(["labels=labels.tsv"]).digest == recipe.digest


def test_regions_of_a_recipe_are_made_of_regions():
    recipe = small(labels={"necrosis": 1, "core": ["necrosis", 4], "whole": ["core", 2]})
    assert recipe.table.names == {"necrosis": 1, "core": (1, 4), "whole": (1, 4, 2)}
    assert recipe.resolved()["labels"]["names"] == {"necrosis": 1, "core": [1, 4], "whole": [1, 4, 2]}


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"labels": {"a": ["b"], "b": ["a"]}}, "made of itself"),
        ({"channels": {"dwi": 3}}, "channels names 'dwi'"),
        ({"normalise": {"each": {"dwi": {"method": "none"}}}}, "normalise.each names 'dwi'"),
        ({"normalise": {"method": "window"}}, "a window is clip"),
        ({"normalise": {"method": "window", "clip": [0, 99]}}, "a window is clip"),
        ({"normalise": {"each": {"t1": {"each": {"t1": {}}}}}}, "no `each` of its own"),
    ],
)
def test_what_contradicts_itself_is_refused(settings, text):
    with pytest.raises(SettingsError, match=text):
        small(**settings)


def test_each_image_is_normalised_by_itself():
    recipe = small(
        normalise={
            "clip": [1, 99],
            "each": {"t1": {"method": "window", "clip": [-100, 300], "clip_unit": "value"}},
        }
    )
    model = recipe.build()
    window = next(c.op for c in model.plan.calls if isinstance(c.op, tv.Window))
    assert (window.level, window.width) == (100, 400)
    fills = {c.op.column: c.op.fill for c in model.plan.calls if isinstance(c.op, Read)}
    assert (fills["flair"], fills["t1"]) == (None, -100)
    assert nodes(model).count("ZScore") == nodes(model).count("Clip") == 1


def test_volumes_of_a_file_are_channels_of_the_network():
    model = small(channels={"flair": 3}).build()
    net = next(c.op for c in model.plan.calls if isinstance(c.op, tv.Network))
    assert net.module.in_channels == 4
