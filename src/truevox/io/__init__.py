"""Readers and writers of image files, one small function each, in a registry."""

from truevox.io.access import load, read, read_header, save
from truevox.io.header import Header
from truevox.io.registry import has_reader, reader, reading_suffixes, writer

__all__ = [
    "Header",
    "has_reader",
    "load",
    "read",
    "read_header",
    "reader",
    "reading_suffixes",
    "save",
    "writer",
]
