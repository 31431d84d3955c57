"""Networks, and what a network does to a grid."""

from truevox.networks.field_of_view import FieldOfView, field_of_view
from truevox.networks.lattice import LatticeMap
from truevox.networks.node import Network
from truevox.networks.unet import UNet

__all__ = ["FieldOfView", "LatticeMap", "Network", "UNet", "field_of_view"]
