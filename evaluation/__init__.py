"""Scores and masks → figures, curves, pictures. Knows neither models nor datasets."""
