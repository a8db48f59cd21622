"""Errors, options, files and logs for all packages. Imports nothing heavy."""
