"""Runs that are killed at random moments, many within saves, and the state of their files afterwards."""
