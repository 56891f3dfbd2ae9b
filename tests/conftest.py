"""Shared by all tests: recipes are imported by ``import zoo``, since pytest puts this folder on the path."""
