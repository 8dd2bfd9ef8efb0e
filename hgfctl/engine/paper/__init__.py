"""The paper's figures that need no photographs: a module an exhibit, which measures, draws, and says what it measured.

`page` binds them into one HTML file.
"""
