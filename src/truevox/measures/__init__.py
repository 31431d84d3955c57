"""Numbers of one image: volumes, and the table of a folder of predictions."""

from truevox.measures.outputs import Output, read_outputs, write_outputs
from truevox.measures.tables import VOLUME_COLUMNS, volumes_table
from truevox.measures.volumes import Volume, volume

__all__ = ["VOLUME_COLUMNS", "Output", "Volume", "read_outputs", "volume", "volumes_table", "write_outputs"]
