"""Draws a demo set in MVTec AD's layout: `python -m demo_set --save_path demo/data`."""
