"""TrueVox: medical image segmentation that knows where every voxel is and what every probability means.

Names resolve on first use, so that ``import truevox`` loads neither torch nor NumPy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from truevox import errors as errors
    from truevox import losses as losses
    from truevox import metrics as metrics
    from truevox import networks as networks
    from truevox import theory as theory
    from truevox import transforms as transforms
    from truevox.cohort import Case as Case
    from truevox.cohort import Cohort as Cohort
    from truevox.errors import CaseError as CaseError
    from truevox.errors import FileError as FileError
    from truevox.errors import GeometryError as GeometryError
    from truevox.errors import GraphError as GraphError
    from truevox.errors import LabelError as LabelError
    from truevox.errors import SettingsError as SettingsError
    from truevox.errors import TrueVoxError as TrueVoxError
    from truevox.image import Image as Image
    from truevox.io import load as load
    from truevox.io import save as save
    from truevox.labels import Labels as Labels
    from truevox.measures import volume as volume
    from truevox.model import Model as Model
    from truevox.networks import Network as Network
    from truevox.networks import field_of_view as field_of_view
    from truevox.space import Grid as Grid
    from truevox.transforms import Affine as Affine
    from truevox.transforms import CentreCrop as CentreCrop
    from truevox.transforms import Clip as Clip
    from truevox.transforms import Crop as Crop
    from truevox.transforms import CropToMask as CropToMask
    from truevox.transforms import DistanceMap as DistanceMap
    from truevox.transforms import FillHoles as FillHoles
    from truevox.transforms import Flip as Flip
    from truevox.transforms import FromMONAI as FromMONAI
    from truevox.transforms import FromTorchIO as FromTorchIO
    from truevox.transforms import Function as Function
    from truevox.transforms import GridCrop as GridCrop
    from truevox.transforms import HistogramMatch as HistogramMatch
    from truevox.transforms import Input as Input
    from truevox.transforms import KeepLargest as KeepLargest
    from truevox.transforms import Like as Like
    from truevox.transforms import MapLabels as MapLabels
    from truevox.transforms import Mean as Mean
    from truevox.transforms import NyulLandmarks as NyulLandmarks
    from truevox.transforms import OneHot as OneHot
    from truevox.transforms import OneOf as OneOf
    from truevox.transforms import Pad as Pad
    from truevox.transforms import Put as Put
    from truevox.transforms import RandomAffine as RandomAffine
    from truevox.transforms import RandomAnisotropy as RandomAnisotropy
    from truevox.transforms import RandomBiasField as RandomBiasField
    from truevox.transforms import RandomBlur as RandomBlur
    from truevox.transforms import RandomBrightness as RandomBrightness
    from truevox.transforms import RandomContrast as RandomContrast
    from truevox.transforms import RandomCrop as RandomCrop
    from truevox.transforms import RandomCutout as RandomCutout
    from truevox.transforms import RandomElastic as RandomElastic
    from truevox.transforms import RandomFlip as RandomFlip
    from truevox.transforms import RandomGamma as RandomGamma
    from truevox.transforms import RandomGhosting as RandomGhosting
    from truevox.transforms import RandomGibbs as RandomGibbs
    from truevox.transforms import RandomLowResolution as RandomLowResolution
    from truevox.transforms import RandomMotion as RandomMotion
    from truevox.transforms import RandomNoise as RandomNoise
    from truevox.transforms import RandomRater as RandomRater
    from truevox.transforms import RandomRicianNoise as RandomRicianNoise
    from truevox.transforms import RandomSharpen as RandomSharpen
    from truevox.transforms import RandomSpike as RandomSpike
    from truevox.transforms import RemoveSmall as RemoveSmall
    from truevox.transforms import Reorient as Reorient
    from truevox.transforms import Resample as Resample
    from truevox.transforms import Rescale as Rescale
    from truevox.transforms import Sigmoid as Sigmoid
    from truevox.transforms import SoftLabel as SoftLabel
    from truevox.transforms import Softmax as Softmax
    from truevox.transforms import SomeOf as SomeOf
    from truevox.transforms import Stack as Stack
    from truevox.transforms import Window as Window
    from truevox.transforms import WithProbability as WithProbability
    from truevox.transforms import ZScore as ZScore

    __version__: str

# Public name -> module that defines it. tests/test_import.py holds it equal to the block above.
_NAMES = {
    "Affine": "transforms",
    "Case": "cohort",
    "CaseError": "errors",
    "CentreCrop": "transforms",
    "Clip": "transforms",
    "Cohort": "cohort",
    "Crop": "transforms",
    "CropToMask": "transforms",
    "DistanceMap": "transforms",
    "FileError": "errors",
    "FillHoles": "transforms",
    "Flip": "transforms",
    "FromMONAI": "transforms",
    "FromTorchIO": "transforms",
    "Function": "transforms",
    "GeometryError": "errors",
    "GraphError": "errors",
    "Grid": "space",
    "GridCrop": "transforms",
    "HistogramMatch": "transforms",
    "Image": "image",
    "Input": "transforms",
    "KeepLargest": "transforms",
    "LabelError": "errors",
    "Labels": "labels",
    "Like": "transforms",
    "MapLabels": "transforms",
    "Mean": "transforms",
    "Model": "model",
    "Network": "networks",
    "NyulLandmarks": "transforms",
    "OneHot": "transforms",
    "OneOf": "transforms",
    "Pad": "transforms",
    "Put": "transforms",
    "RandomAffine": "transforms",
    "RandomAnisotropy": "transforms",
    "RandomBiasField": "transforms",
    "RandomBlur": "transforms",
    "RandomBrightness": "transforms",
    "RandomContrast": "transforms",
    "RandomCrop": "transforms",
    "RandomCutout": "transforms",
    "RandomElastic": "transforms",
    "RandomFlip": "transforms",
    "RandomGamma": "transforms",
    "RandomGhosting": "transforms",
    "RandomGibbs": "transforms",
    "RandomLowResolution": "transforms",
    "RandomMotion": "transforms",
    "RandomNoise": "transforms",
    "RandomRater": "transforms",
    "RandomRicianNoise": "transforms",
    "RandomSharpen": "transforms",
    "RandomSpike": "transforms",
    "RemoveSmall": "transforms",
    "Reorient": "transforms",
    "Resample": "transforms",
    "Rescale": "transforms",
    "SettingsError": "errors",
    "Sigmoid": "transforms",
    "SoftLabel": "transforms",
    "Softmax": "transforms",
    "SomeOf": "transforms",
    "Stack": "transforms",
    "TrueVoxError": "errors",
    "Window": "transforms",
    "WithProbability": "transforms",
    "ZScore": "transforms",
    "field_of_view": "networks",
    "load": "io",
    "save": "io",
    "volume": "measures",
}
_SUBPACKAGES = ("errors", "losses", "metrics", "networks", "theory", "transforms")


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("truevox")
    elif name in _NAMES:
        value = getattr(import_module(f"truevox.{_NAMES[name]}"), name)
    elif name in _SUBPACKAGES:
        value = import_module(f"truevox.{name}")
    else:
        raise AttributeError(f"module 'truevox' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*_NAMES, *_SUBPACKAGES, "__version__", "__doc__", "__file__", "__name__", "__path__"})
