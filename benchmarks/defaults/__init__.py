"""Which initialisation and normalisation models should have by default."""
