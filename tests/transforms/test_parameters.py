# pyright: reportArgumentType=false, reportCallIssue=false
"""Parameters that can't mean anything are refused when a transform is made, in words of its user."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import truevox as tv
from truevox import CaseError, Grid, Image, Labels
from truevox.errors import TrueVoxError
from truevox.pipeline import Pointwise, node
from truevox.pipeline.cases import as_case

NAN, INF = float("nan"), float("inf")
BAD_NUMBERS = ["1mm", NAN, INF, -INF, None, [], {}, (1, 2, 3, 4, 5), True, 1j, object()]
"""No number, no range of numbers and no number per axis."""

IMAGE = Image(torch.rand(1, 6, 6, 6), Grid((6, 6, 6)))

LENGTHS = {
    "Resample": ["spacing"],
    "Affine": ["rotation", "scaling", "shear", "translation"],
    "RandomAffine": ["rotation", "scaling", "shear", "translation", "probability"],
    "RandomElastic": ["displacement", "spacing", "probability"],
    "RandomFlip": ["axes", "probability"],
    "Flip": ["axes"],
    "Crop": ["start", "box_mm"],
    "CentreCrop": ["size"],
    "RandomCrop": ["size", "foreground"],
    "GridCrop": ["size", "overlap"],
    "CropToMask": ["margin_mm"],
    "RandomGamma": ["log_gamma", "probability"],
    "RandomNoise": ["std", "probability"],
    "RandomRicianNoise": ["std", "probability"],
    "RandomBrightness": ["shift", "per_channel", "probability"],
    "RandomContrast": ["factor", "keep_range", "probability"],
    "RandomBlur": ["sigma", "per_axis", "probability"],
    "RandomSharpen": ["amount", "sigma", "probability"],
    "RandomLowResolution": ["spacing", "probability"],
    "RandomAnisotropy": ["thickness", "axes", "probability"],
    "RandomCutout": ["count", "size", "probability"],
    "RandomBiasField": ["strength", "wavelength", "waves", "probability"],
    "RandomSpike": ["strength", "spikes", "probability"],
    "RandomGhosting": ["strength", "copies", "probability"],
    "RandomGibbs": ["kept", "probability"],
    "RandomMotion": ["rotation", "translation", "movements", "probability"],
    "Rescale": ["low", "high", "percentiles", "clip"],
    "Reorient": ["codes"],
    "RemoveSmall": ["least_ml", "connectivity"],
    "KeepLargest": ["connectivity"],
    "DistanceMap": ["limit_mm"],
}
MAY_BE = {
    ("Crop", "box_mm"): (None,),
    ("RandomBrightness", "per_channel"): (True,),
    ("RandomContrast", "keep_range"): (True,),
    ("RandomBlur", "per_axis"): (True,),
    ("Rescale", "clip"): (True,),
    ("KeepLargest", "connectivity"): (True,),
    ("RemoveSmall", "connectivity"): (True,),
    ("RandomFlip", "axes"): ([], {}),
    ("Flip", "axes"): ([], {}),
}


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, fields in LENGTHS.items() for f in fields])
def test_what_is_no_number_is_refused(name: str, field: str):
    for bad in BAD_NUMBERS:
        if any(
            bad is one or (type(bad) is type(one) and bad == one) for one in MAY_BE.get((name, field), ())
        ):
            continue
        given = {field: bad} | ({"least_ml": 1.0} if name == "RemoveSmall" and field != "least_ml" else {})
        with pytest.raises(TrueVoxError) as caught:
            getattr(tv, name)(**given)
        assert "Traceback" not in str(caught.value)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (lambda: tv.Resample(-1), "above 0 mm"),
        (lambda: tv.Resample((1, 0, 1)), "above 0 mm"),
        (lambda: tv.Resample((1, 1)), "one per axis"),
        (lambda: tv.RandomCrop(-3), "at least 1 voxel"),
        (lambda: tv.RandomCrop(3.5), "whole number"),
        (lambda: tv.RandomCrop((8, 0, 8)), "at least 1"),
        (lambda: tv.RandomCrop((8, 8, 8, 8)), "one per axis"),
        (lambda: tv.RandomCrop(8, spacing=-2), "above 0 mm"),
        (lambda: tv.RandomCrop(8, centre_on="tumour"), "node of a graph"),
        (lambda: tv.RandomCrop(8, avoid=3), "node of a graph"),
        (lambda: tv.GridCrop(-8), "at least 1"),
        (lambda: tv.GridCrop(8, overlap=-0.1), "from 0"),
        (lambda: tv.GridCrop(8, overlap=1), "below 1"),
        (lambda: tv.CentreCrop(0), "at least 1"),
        (lambda: tv.Pad(margin=-1), "takes none away"),
        (lambda: tv.Pad(size=2.5), "whole number"),
        (lambda: tv.Like(3), "Like's reference"),
        (lambda: tv.Like("flair"), "tv.Input"),
        (lambda: tv.Put(like=None), "like"),
        (lambda: tv.Put(like=IMAGE, uncovered="air"), "uncovered"),
        (lambda: tv.CropToMask("brain"), "mask"),
        (lambda: tv.Affine(scaling=-1), "zoom"),
        (lambda: tv.Affine(rotation=(1, 2)), "one per axis"),
        (lambda: tv.RandomAffine(scaling=1.5), "zoom"),
        (lambda: tv.RandomAffine(rotation=(10, -10)), "low up to high"),
        (lambda: tv.RandomFlip(probability=2), "probability"),
        (lambda: tv.RandomFlip(axes=3), "0, 1 or 2"),
        (lambda: tv.Flip(-1), "0, 1 or 2"),
        (lambda: tv.RandomElastic((NAN, 3)), "displacement"),
        (lambda: tv.Clip(5, 1), "low below high"),
        (lambda: tv.Clip(NAN, 1), "finite"),
        (lambda: tv.Clip(-5, 200, unit="percentile"), "from 0 up to 100"),
        (lambda: tv.Rescale(NAN, 1), "finite"),
        (lambda: tv.Rescale(0, INF), "finite"),
        (lambda: tv.Window(40, NAN), "width"),
        (lambda: tv.Window(NAN, 40), "level"),
        (lambda: tv.ZScore(percentiles=(NAN, 50)), "percentiles"),
        (lambda: tv.ZScore(percentiles=(5, 5)), "percentiles"),
        (lambda: tv.ZScore(percentiles=5), "percentiles"),
        (lambda: tv.HistogramMatch(((0, 1),), (NAN, 100)), "percentile"),
        (lambda: tv.HistogramMatch.fit([IMAGE], quantiles=1), "quantiles"),
        (lambda: tv.NyulLandmarks.fit([IMAGE], scale=(1, 0)), "scale"),
        (lambda: tv.RandomBiasField(waves=2.5), "waves"),
        (lambda: tv.RandomSpike(spikes=-1), "spikes"),
        (lambda: tv.RandomMotion(movements=1.5), "movements"),
        (lambda: tv.RandomCutout(0), "count"),
        (lambda: tv.RandomCutout(1, value=NAN), "value"),
        (lambda: tv.RandomGhosting(copies=(5, 2)), "copies"),
        (lambda: tv.RandomBlur(1, per_axis="no"), "True or False"),
        (lambda: tv.RemoveSmall(-1), "least_ml"),
        (lambda: tv.DistanceMap(NAN), "limit_mm"),
        (lambda: tv.OneOf([tv.Flip(0)], weights=[NAN]), "one number per transform"),
        (lambda: tv.OneOf([tv.Flip(0)], weights="a"), "one number per transform"),
        (lambda: tv.SomeOf([tv.Flip(0)], count=2), "count"),
        (lambda: tv.WithProbability(tv.Flip(0), -1), "probability"),
        (lambda: tv.SoftLabel([NAN, 1])(LABEL, LABEL), "one number per rater"),
        (lambda: tv.RandomRater("ab")(LABEL, LABEL), "one number per rater"),
        (lambda: tv.Input("flair", kind="mask"), "scalar | label | probability"),
        (lambda: tv.Input(3), "column"),
        (lambda: tv.Input("flair", channels=0), "channels"),
        (lambda: tv.Input("flair", fill="air"), "fill"),
        (lambda: tv.Input("flair", fill=NAN), "fill"),
        (lambda: tv.Flip(0, name=""), "name"),
        (lambda: tv.Flip(0, name=3), "name"),
        (lambda: tv.MapLabels(3), "MapLabels"),
    ],
)
def test_what_has_no_meaning_is_refused(build, text: str):
    with pytest.raises(TrueVoxError, match=text.replace("|", r"\|")):
        build()


LABEL = Image(torch.ones(1, 2, 2, 2, dtype=torch.uint8), Grid((2, 2, 2)), "label", labels=Labels({"a": 1}))


def test_numbers_of_numpy_are_numbers():
    one, two = np.float32(1), np.int64(2)
    made = [
        tv.Resample(one), tv.RandomBlur(one), tv.RandomGamma(one), tv.RandomCrop(two), tv.Flip(two),
        tv.Clip(one, two), tv.RandomBlur(np.array([1.0, 2.0])), tv.RandomCutout(two), tv.Window(one, two),
        tv.RandomFlip(np.array([0, 1])), tv.RandomGhosting(copies=two), tv.Affine(rotation=np.arange(3)),
        tv.RandomAffine(scaling=np.float64(0.1)),
    ]  # fmt: skip
    for op in made:
        assert isinstance(op(IMAGE, rng=np.random.default_rng(0)), Image)


STATISTICS = [
    tv.ZScore(), tv.ZScore(mask="nonzero"), tv.Rescale(), tv.Clip(1, 99, unit="percentile"),
    tv.RandomGamma(0.3), tv.RandomContrast(), tv.RandomSpike(), tv.HistogramMatch(((0.0, 1.0),), (0, 100)),
]  # fmt: skip


@pytest.mark.parametrize("op", STATISTICS, ids=lambda op: type(op).__name__)
@pytest.mark.parametrize("bad", [NAN, INF])
def test_statistics_of_what_is_not_finite_are_refused(op, bad: float):
    data = IMAGE.data.clone()
    data[0, 0, 0, 0] = bad
    if bad == INF and isinstance(op, tv.Clip):
        return  # the 99th percentile is finite
    with pytest.raises(TrueVoxError, match="not finite"):
        op(IMAGE.replace(data=data))


def test_images_in_memory_are_as_finite_as_files():
    holes = Image(torch.full((1, 2, 2, 2), NAN), Grid((2, 2, 2)))
    with pytest.raises(CaseError, match="8 of 8 voxels"):
        as_case({"flair": holes}).load("flair", "scalar", None)
    assert as_case({"p": holes}).load("p", "probability", None) is holes  # what no prediction reached
    with pytest.raises(CaseError, match="not finite"):
        as_case({"p": holes.replace(data=holes.data + INF)}).load("p", "scalar", None)


def test_a_node_of_a_user_raises_what_it_likes():
    @node
    class Picky(Pointwise):
        def __post_init__(self) -> None:
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        Picky()
