"""From images, or a model that makes them, to figures.

The way: `sources` -> `image_sets` -> `feature_pass` -> `feature_set` -> `comparison`.
"""
