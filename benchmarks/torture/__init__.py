"""Runs that are killed at random moments, many within saves, and what is found on the disk afterwards."""
