"""Draws a run from plain records: as curves, and as one HTML file that needs no server and no other file."""

from torch_rechub.report.curves import curve_names, draw_history
from torch_rechub.report.decisions import decisions_table
from torch_rechub.report.facts import Ending, environment
from torch_rechub.report.page import report_page
from torch_rechub.report.pictures import readable_text
from torch_rechub.report.range_test import draw_range_test
from torch_rechub.report.records import Records
from torch_rechub.report.text import escape

__all__ = [
    "Ending",
    "Records",
    "curve_names",
    "decisions_table",
    "draw_history",
    "draw_range_test",
    "environment",
    "escape",
    "readable_text",
    "report_page",
]
