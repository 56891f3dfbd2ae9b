"""A run as curves and as one HTML file, made from plain records. No server, and nothing from outside the file."""

from torch_rechub.report.curves import curve_names, draw_history
from torch_rechub.report.facts import Ending, environment
from torch_rechub.report.page import report_page
from torch_rechub.report.records import Records

__all__ = ["Ending", "Records", "curve_names", "draw_history", "environment", "report_page"]
