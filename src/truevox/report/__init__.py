"""Reports: what evaluations say, as one HTML file that works offline."""

from truevox.report.page import write_report

__all__ = ["write_report"]
