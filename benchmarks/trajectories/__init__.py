"""Compares training by rows with torch's dense Adam: validation AUC at each validation."""
