"""The nodes: reading, looking from elsewhere, changing intensities, cutting patches and putting them back."""

from truevox.transforms.adapters import FromMONAI, FromTorchIO, Function
from truevox.transforms.artefacts import (
    RandomBiasField,
    RandomGhosting,
    RandomGibbs,
    RandomMotion,
    RandomSpike,
)
from truevox.transforms.choices import OneOf, SomeOf, WithProbability
from truevox.transforms.combine import Mean, Sigmoid, Softmax, Stack
from truevox.transforms.components import DistanceMap, FillHoles, KeepLargest, RemoveSmall
from truevox.transforms.crops import RandomCrop
from truevox.transforms.cutout import RandomCutout
from truevox.transforms.elastic import RandomElastic
from truevox.transforms.filters import RandomBlur, RandomLowResolution, RandomSharpen
from truevox.transforms.frames import CentreCrop, Crop, CropToMask, Pad
from truevox.transforms.histogram import HistogramMatch, NyulLandmarks
from truevox.transforms.inputs import Input
from truevox.transforms.intensity import (
    RandomBrightness,
    RandomContrast,
    RandomGamma,
)
from truevox.transforms.labelling import MapLabels, OneHot
from truevox.transforms.noise import RandomNoise, RandomRicianNoise
from truevox.transforms.normalise import Clip, Rescale, Window, ZScore
from truevox.transforms.raters import RandomRater, SoftLabel
from truevox.transforms.slices import RandomAnisotropy
from truevox.transforms.spatial import Affine, Flip, Like, RandomAffine, RandomFlip, Reorient, Resample
from truevox.transforms.tiles import GridCrop, Put

__all__ = [
    "Affine",
    "CentreCrop",
    "Clip",
    "Crop",
    "CropToMask",
    "DistanceMap",
    "FillHoles",
    "Flip",
    "FromMONAI",
    "FromTorchIO",
    "Function",
    "GridCrop",
    "HistogramMatch",
    "Input",
    "KeepLargest",
    "Like",
    "MapLabels",
    "Mean",
    "NyulLandmarks",
    "OneHot",
    "OneOf",
    "Pad",
    "Put",
    "RandomAffine",
    "RandomAnisotropy",
    "RandomBiasField",
    "RandomBlur",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomCutout",
    "RandomElastic",
    "RandomFlip",
    "RandomGamma",
    "RandomGhosting",
    "RandomGibbs",
    "RandomLowResolution",
    "RandomMotion",
    "RandomNoise",
    "RandomRater",
    "RandomRicianNoise",
    "RandomSharpen",
    "RandomSpike",
    "RemoveSmall",
    "Reorient",
    "Resample",
    "Rescale",
    "Sigmoid",
    "SoftLabel",
    "Softmax",
    "SomeOf",
    "Stack",
    "Window",
    "WithProbability",
    "ZScore",
]
