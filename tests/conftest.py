"""Shared by all tests: ``import zoo`` imports the recipes, since pytest puts this folder on the path; no test is timed."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
