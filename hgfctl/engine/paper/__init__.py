"""The paper's figures that need no photographs: a module a figure, which measures, draws, and tells what it measured.

`page` binds them into one HTML file.
"""
