"""Draws a run from plain records: as curves, and as one HTML file that needs no server and no other file."""

from torch_rechub.report.curves import curve_names, draw_history
from torch_rechub.report.facts import Ending, environment
from torch_rechub.report.page import report_page
from torch_rechub.report.records import Records

__all__ = ["Ending", "Records", "curve_names", "draw_history", "environment", "report_page"]
