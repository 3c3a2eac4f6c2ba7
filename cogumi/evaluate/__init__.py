"""Evaluation: benchmarks as rows of one form, known by their own questions."""
