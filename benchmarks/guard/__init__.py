"""Finds out whether a training step has become slower, by a ratio that hardly depends on the load of the machine."""
