"""Weights go to and fro between the existing package and this one."""
