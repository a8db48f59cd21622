"""Detectors: frozen features, one head per method, and model files.

`models.factory` makes detectors. Importing this package or `models.factory` imports no Paddle.
"""
