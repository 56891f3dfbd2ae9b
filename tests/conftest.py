"""Shared by all tests: ``import zoo`` imports the recipes, since pytest puts this folder on the path; no test is timed."""

import signal

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

# A shell starts a command in the background with SIGINT ignored, and its children inherit that; the tests of Ctrl-C need Python's handler.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
