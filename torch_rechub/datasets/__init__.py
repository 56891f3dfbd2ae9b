"""Data sets that are embedded or generated, and readers of published raw formats."""

from torch_rechub.datasets.adult import Adult, load_adult
from torch_rechub.datasets.clicks import Clicks
from torch_rechub.datasets.columns import Split
from torch_rechub.datasets.frappe import Frappe, load_frappe
from torch_rechub.datasets.make_clicks import make_clicks

__all__ = ["Adult", "Clicks", "Frappe", "Split", "load_adult", "load_frappe", "make_clicks"]
