"""Detectors: frozen features, a head per method, and the files that hold them.

`models.factory` makes detectors. Importing this package or `models.factory` imports no Paddle.
"""
