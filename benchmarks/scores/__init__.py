"""Scores of rows, pooled over folds and seeds, with intervals over patients."""
