"""Says when a training step has become slower, by a ratio that hardly depends on the machine's mood."""
