"""Frozen ImageNet networks and readers of their weight files."""
