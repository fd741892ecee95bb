"""Accuracy and speed beside trivial rows and peers; not part of the installed package."""
