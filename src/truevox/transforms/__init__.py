"""The nodes: reading, looking from elsewhere, changing intensities, cutting patches and putting them back."""

from truevox.transforms.artefacts import (
    RandomBiasField,
    RandomGhosting,
    RandomGibbs,
    RandomMotion,
    RandomSpike,
)
from truevox.transforms.combine import Mean, Sigmoid, Softmax, Stack
from truevox.transforms.crops import RandomCrop
from truevox.transforms.filters import RandomBlur, RandomLowResolution, RandomSharpen
from truevox.transforms.inputs import Input
from truevox.transforms.intensity import (
    RandomBrightness,
    RandomContrast,
    RandomGamma,
    RandomNoise,
    RandomRicianNoise,
)
from truevox.transforms.normalise import Clip, Rescale, Window, ZScore
from truevox.transforms.spatial import Like, RandomAffine, RandomFlip, Resample
from truevox.transforms.tiles import GridCrop, Put

__all__ = [
    "Clip",
    "GridCrop",
    "Input",
    "Like",
    "Mean",
    "Put",
    "RandomAffine",
    "RandomBiasField",
    "RandomBlur",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomFlip",
    "RandomGamma",
    "RandomGhosting",
    "RandomGibbs",
    "RandomLowResolution",
    "RandomMotion",
    "RandomNoise",
    "RandomRicianNoise",
    "RandomSharpen",
    "RandomSpike",
    "Resample",
    "Rescale",
    "Sigmoid",
    "Softmax",
    "Stack",
    "Window",
    "ZScore",
]
