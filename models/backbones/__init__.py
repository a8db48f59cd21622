"""Frozen ImageNet networks and the files their weights come in."""
