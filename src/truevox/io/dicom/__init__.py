"""DICOM: series of images, segmentations (SEG) and structure sets (RTSTRUCT)."""

from truevox.io.dicom.reader import load_series, read_dicom, read_labels
from truevox.io.dicom.seg_writer import save_seg, write_seg
from truevox.io.dicom.series import Series, list_series

__all__ = ["Series", "list_series", "load_series", "read_dicom", "read_labels", "save_seg", "write_seg"]
