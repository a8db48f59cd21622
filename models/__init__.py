"""Detectors: frozen features, one head per method, and model files.

`models.factory` makes detectors, `models.loading` opens them. Importing these imports no Paddle.
"""
