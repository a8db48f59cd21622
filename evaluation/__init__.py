"""From scores and masks to figures, curves and pictures. Imports neither models nor datasets."""
