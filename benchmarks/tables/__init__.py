"""Committed results as tables and plots of the docs."""
