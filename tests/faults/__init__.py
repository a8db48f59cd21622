"""Kills, signals, full disks, two runs at once, many pictures: scripts that take minutes.

Run each as `python -m tests.faults.NAME`; docs/faults.md has their last results.
"""
