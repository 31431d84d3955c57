"""Streams of training patches: ours, other packages', and a floor. All take and give the same."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import OURS, Case

DEGREES, SCALE, LOG_GAMMA, STD = 10.0, 0.1, 0.3, 20.0
PER_VOLUME = 8  # patches of one volume, for peers that hold volumes; the others change case every time
MARGIN = 1.5  # what a patch needs around it, for peers that crop before they rotate

Patch = tuple[np.ndarray, np.ndarray]  # (C, I, J, K) and (I, J, K)
Stream = Iterator[list[Patch]]


# ---- contenders: cases, channels, size, whether intensities change -> lists of patches -----------------


FACTS: dict[str, Any] = {}
"""What our side found out about its cache."""


def samples(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool, folder: str) -> Any:
    """The public graph, as the samples that training takes."""
    import torch

    import truevox as tv
    from truevox.pipeline import Cache, Plan
    from truevox.pipeline.data import Samples

    x, y = tv.Stack()(*(tv.Input(c) for c in channels)), tv.Input("mask", kind="label", labels={"tumour": 1})
    x, y = tv.RandomCrop(size, centre_on=y, foreground=0.5)(x, y)
    x, y = tv.RandomAffine(rotation=DEGREES, scaling=SCALE)(x, y)
    x, y = tv.RandomFlip(axes=(0, 1, 2))(x, y)
    if intensity:
        x = tv.RandomNoise(STD, probability=0.5)(tv.RandomGamma(LOG_GAMMA, probability=0.5)(x))
    # The network never runs: it only says what training reads.
    read = tv.Network(torch.nn.Identity())(x)
    cohort = [tv.Case(f"case{k}", dict(case)) for k, case in enumerate(cases)]
    made = Samples(Plan([read, y]), cohort, [(read, y)], 0, Cache(folder))
    for number in range(len(cohort)):
        made[number]  # fills the cache
    FACTS["cache_mib"] = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file()) / 2**20
    FACTS["files_mib"] = sum(p.stat().st_size for c in cases for p in map(Path, c.values())) / 2**20
    return made


def truevox(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """Ours, in the process itself; a new case for every patch."""
    from truevox.pipeline.data import Steps, batches

    with tempfile.TemporaryDirectory() as folder:
        for batch in batches(samples(cases, channels, size, intensity, folder), Steps(0, 10**9, 1)):
            if not isinstance(batch, dict):
                raise batch.error()
            yield [(batch["nodes"][0]["data"][0].numpy(), batch["targets"][0][0, 0].numpy())]


def _monai(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool, tuned: bool) -> Stream:
    import monai
    from monai import data
    from monai import transforms as t

    monai.data.set_track_meta(not tuned)
    keys = ["image", "mask"]
    files = [*channels, "mask"]
    load: list[Any] = [
        t.LoadImaged(files, reader="NibabelReader"),
        t.EnsureChannelFirstd(files, channel_dim="no_channel"),
        t.ConcatItemsd(list(channels), "image"),
        t.DeleteItemsd(list(channels)),
    ]
    crop = 2 * math.ceil(size * MARGIN / 2) if tuned else size
    index = {}
    if tuned:  # foreground found once, nothing copied, a margin so that no corner is black
        load += [t.SpatialPadd(keys, (crop,) * 3), t.FgBgToIndicesd("mask")]
        index = {"fg_indices_key": "mask_fg_indices", "bg_indices_key": "mask_bg_indices"}
    draw: list[Any] = [
        t.RandCropByPosNegLabeld(keys, "mask", (crop,) * 3, pos=1, neg=1, num_samples=PER_VOLUME, **index),
        *([t.DeleteItemsd(["mask_fg_indices", "mask_bg_indices"])] if tuned else []),
        t.RandAffined(
            keys, prob=1.0, spatial_size=(size,) * 3, rotate_range=(math.radians(DEGREES),) * 3,
            scale_range=(SCALE,) * 3, mode=("bilinear", "nearest"), padding_mode="zeros",
        ),
        *(t.RandFlipd(keys, 0.5, axis) for axis in range(3)),
    ]  # fmt: skip
    if intensity:
        gamma = (math.exp(-LOG_GAMMA), math.exp(LOG_GAMMA))
        draw += [
            t.RandAdjustContrastd("image", 0.5, gamma=gamma),
            t.RandGaussianNoised("image", 0.5, std=STD),
        ]
    table = data.CacheDataset(
        [{k: str(v) for k, v in case.items()} for case in cases], t.Compose(load + draw),
        num_workers=1, progress=False, copy_cache=not tuned,
    )  # fmt: skip
    loader = data.DataLoader(table, batch_size=1, shuffle=True, num_workers=0)
    while True:
        for batch in loader:
            yield [(x.numpy(), y[0].numpy()) for x, y in zip(batch["image"], batch["mask"], strict=True)]


def monai_cache(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """MONAI CacheDataset with the dictionary transforms of its documentation."""
    return _monai(cases, channels, size, intensity, tuned=False)


def monai_tuned(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """The same without metadata and copies, with cached foreground indices, and with a margin."""
    return _monai(cases, channels, size, intensity, tuned=True)


def torchio_queue(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """TorchIO Queue of subjects held in memory, transforms on volumes, as documented."""
    import torchio as tio

    changes: list[Any] = [
        tio.RandomAffine(scales=SCALE, degrees=DEGREES),
        tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5),
    ]
    if intensity:
        changes += [tio.RandomGamma(log_gamma=LOG_GAMMA, p=0.5), tio.RandomNoise(std=(0, STD), p=0.5)]
    subjects = []
    for case in cases:
        images = {c: tio.ScalarImage(case[c]) for c in channels}
        subjects.append(tio.Subject(**images, mask=tio.LabelMap(case["mask"])))
        subjects[-1].load()
    queue = tio.Queue(
        tio.SubjectsDataset(subjects, transform=tio.Compose(changes)), max_length=2 * PER_VOLUME,
        samples_per_volume=PER_VOLUME, sampler=tio.LabelSampler(size, "mask", {0: 1, 1: 1}), num_workers=0,
    )  # fmt: skip
    loader = tio.SubjectsLoader(queue, batch_size=2 * PER_VOLUME)
    while True:
        for batch in loader:  # a whole filling of the queue
            parts = [batch[c][tio.DATA] for c in channels]
            labels = batch["mask"][tio.DATA]
            yield [
                (np.concatenate([p[k].numpy() for p in parts]), labels[k, 0].numpy())
                for k in range(len(labels))
            ]


def _store(cases: Sequence[Case], channels: Sequence[str], folder: str) -> list[tuple[np.ndarray, ...]]:
    """Every case as memory-mapped arrays and a table of its foreground."""
    import nibabel as nib

    held = []
    for k, case in enumerate(cases):
        images = np.stack([np.asarray(nib.load(case[c]).dataobj) for c in channels])
        mask = np.asarray(nib.load(case["mask"]).dataobj).astype(np.uint8)
        arrays = []
        for name, array in (("image", images), ("mask", mask), ("table", np.argwhere(mask))):
            path = Path(folder) / f"{k}_{name}.npy"
            np.save(path, np.ascontiguousarray(array))
            arrays.append(np.asarray(np.load(path, mmap_mode="r")))
        held.append(tuple(arrays))
    return held


def _centre(rng: np.random.Generator, table: np.ndarray, shape: Sequence[int], size: int) -> np.ndarray:
    """Centre of a patch inside the volume, on the foreground half of the time."""
    centred = rng.random() < 0.5
    point = table[rng.integers(len(table))] if centred else rng.random(3) * shape
    return np.clip(point, size / 2, np.array(shape) - size / 2)


def nnunet(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """nnU-Net's way: crop with a margin from a memory map, then batchgeneratorsv2."""
    import torch
    from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
    from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
    from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
    from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
    from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
    from batchgeneratorsv2.transforms.utils.random import RandomTransform

    angle = math.radians(DEGREES)
    changes: list[Any] = [
        SpatialTransform(
            (size,) * 3, 0, False, p_rotation=1, rotation=(-angle, angle), p_scaling=1,
            scaling=(1 - SCALE, 1 + SCALE), mode_seg="nearest",
        ),
        MirrorTransform((0, 1, 2)),
    ]  # fmt: skip
    if intensity:
        gamma = (math.exp(-LOG_GAMMA), math.exp(LOG_GAMMA))
        changes.append(RandomTransform(GammaTransform(gamma, 0, True, 1, 0), 0.5))
        changes.append(RandomTransform(GaussianNoiseTransform((0, STD**2), 1, True), 0.5))
    transform, rng = ComposeTransforms(changes), np.random.default_rng(0)
    wide = int(size * MARGIN)
    with tempfile.TemporaryDirectory() as folder:
        held = _store(cases, channels, folder)
        while True:
            image, mask, table = held[rng.integers(len(held))]
            start = np.rint(_centre(rng, table, mask.shape, size) - wide / 2).astype(int)
            low, high = np.maximum(start, 0), np.minimum(start + wide, mask.shape)
            box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
            pad = list(zip(low - start, start + wide - high, strict=True))
            x = np.pad(image[(slice(None), *box)].astype(np.float32), [(0, 0), *pad])
            y = np.pad(mask[box].astype(np.int16), pad)
            made = transform(image=torch.from_numpy(x), segmentation=torch.from_numpy(y)[None])
            yield [(made["image"].numpy(), made["segmentation"][0].numpy())]


def _fused() -> Callable[..., None]:
    """Compile the floor's one pass: linear for the channels and nearest for the mask, at one place."""
    from numba import njit

    @njit(fastmath=True)
    def warp(image, mask, m, x, y):  # type: ignore[no-untyped-def]
        size_i, size_j, size_k = mask.shape
        for i in range(y.shape[0]):
            for j in range(y.shape[1]):
                for k in range(y.shape[2]):
                    p = m[0, 0] * i + m[0, 1] * j + m[0, 2] * k + m[0, 3]
                    q = m[1, 0] * i + m[1, 1] * j + m[1, 2] * k + m[1, 3]
                    r = m[2, 0] * i + m[2, 1] * j + m[2, 2] * k + m[2, 3]
                    if p < 0 or q < 0 or r < 0 or p >= size_i - 1 or q >= size_j - 1 or r >= size_k - 1:
                        x[:, i, j, k] = 0
                        y[i, j, k] = 0
                        continue
                    a, b, d = int(p), int(q), int(r)
                    u, v, w = np.float32(p - a), np.float32(q - b), np.float32(r - d)
                    y[i, j, k] = mask[int(p + 0.5), int(q + 0.5), int(r + 0.5)]
                    for c in range(x.shape[0]):
                        line = image[c]
                        s = line[a, b, d] + w * np.float32(line[a, b, d + 1] - line[a, b, d])
                        t = line[a, b + 1, d] + w * np.float32(line[a, b + 1, d + 1] - line[a, b + 1, d])
                        s += v * (t - s)
                        e = line[a + 1, b, d] + w * np.float32(line[a + 1, b, d + 1] - line[a + 1, b, d])
                        f = line[a + 1, b + 1, d]
                        f += w * np.float32(line[a + 1, b + 1, d + 1] - line[a + 1, b + 1, d])
                        e += v * (f - e)
                        x[c, i, j, k] = s + u * (e - s)

    return warp


def floor(cases: Sequence[Case], channels: Sequence[str], size: int, intensity: bool) -> Stream:
    """One fused compiled pass from a memory map and nothing else: what the machine allows."""
    from scipy.spatial.transform import Rotation

    warp, rng = _fused(), np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        held = _store(cases, channels, folder)
        while True:
            image, mask, table = held[rng.integers(len(held))]
            turn = Rotation.from_euler("xyz", rng.uniform(-DEGREES, DEGREES, 3), degrees=True).as_matrix()
            turn = turn * (rng.uniform(1 - SCALE, 1 + SCALE, 3) * rng.choice([-1, 1], 3))
            corner = _centre(rng, table, mask.shape, size) - turn @ np.full(3, (size - 1) / 2)
            x, y = np.empty((len(channels), *(size,) * 3), np.float32), np.empty((size,) * 3, np.uint8)
            warp(image, mask, np.column_stack([turn, corner]), x, y)
            if intensity and rng.random() < 0.5:
                low, high = x.min(), x.max()
                x -= low
                x /= max(high - low, 1e-6)
                np.power(x, np.float32(np.exp(rng.uniform(-LOG_GAMMA, LOG_GAMMA))), out=x)
                x *= high - low
                x += low
            if intensity and rng.random() < 0.5:
                noise = np.random.Generator(np.random.SFC64(rng.integers(2**63)))
                x += noise.standard_normal(x.shape, dtype=np.float32) * np.float32(rng.uniform(0, STD))
            yield [(x, y)]


CONTENDERS = {f.__name__: f for f in (truevox, nnunet, monai_tuned, monai_cache, torchio_queue, floor)}
PEERS = [name for name in CONTENDERS if name != OURS]
