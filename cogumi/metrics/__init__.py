"""Scores and statistics: pure functions of values, texts and rates."""
