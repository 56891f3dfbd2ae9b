"""Weights are exchanged between the existing package and this one."""
