"""Errors, options, files and logs for all packages. Imports nothing heavy."""

__version__ = "0.1.0"
