"""Shapes that positions live on, without flows: maps, distances, uniform laws."""
