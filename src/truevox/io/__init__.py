"""Readers and writers of image files, one small function each, in a registry."""

from truevox.io.access import expect_3d, load, read, read_header, save
from truevox.io.header import Header
from truevox.io.registry import has_reader, reader, reading_suffixes, writer

__all__ = [
    "Header",
    "expect_3d",
    "has_reader",
    "load",
    "read",
    "read_header",
    "reader",
    "reading_suffixes",
    "save",
    "writer",
]
