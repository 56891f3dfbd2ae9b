"""The words: features, layers, losses, metrics and callbacks."""
