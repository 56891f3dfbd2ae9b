"""Published accuracy, reproduced by one command: ``python -m benchmarks.accuracy``."""
