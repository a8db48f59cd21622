"""Judges pictures over HTTP: `serve.py`. Models are used through `inspection.Inspector` alone."""
