"""A run as one HTML file: curves, decisions, settings, environment, and where it ended and why. No server, nothing from outside."""

from torch_rechub.trainers.report.facts import Ending, environment
from torch_rechub.trainers.report.page import report_page
from torch_rechub.trainers.report.write import write_history_report, write_report

__all__ = ["Ending", "environment", "report_page", "write_history_report", "write_report"]
