"""The version of hgfctl."""

__version__ = "0.1.0"
