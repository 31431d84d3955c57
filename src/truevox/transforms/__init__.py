"""The nodes: reading, looking from elsewhere, changing intensities, cutting patches and putting them back."""

from truevox.transforms.combine import Mean, Sigmoid, Softmax, Stack
from truevox.transforms.crops import RandomCrop
from truevox.transforms.inputs import Input
from truevox.transforms.intensity import Clip, RandomGamma, RandomNoise, ZScore
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
    "RandomCrop",
    "RandomFlip",
    "RandomGamma",
    "RandomNoise",
    "Resample",
    "Sigmoid",
    "Softmax",
    "Stack",
    "ZScore",
]
