"""How much processor time training takes, beside every library that one could pick instead."""
