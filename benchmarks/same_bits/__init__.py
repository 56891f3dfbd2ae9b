"""Compares the results of two commits bit by bit."""
