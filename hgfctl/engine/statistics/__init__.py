"""Distances and tests between sets of numbers, and their errors; nothing here knows of flows or models."""
