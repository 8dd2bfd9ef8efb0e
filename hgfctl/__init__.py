"""hgfctl: Hamiltonian generative flows and Hamiltonian score matching from the command line.

The method is from P. Holderrieth, Y. Xu and T. Jaakkola, "Hamiltonian Score Matching and Generative Flows",
NeurIPS 2024 (arXiv 2410.20470), cited in docstrings as HSM24.
"""

__version__ = "0.1.0"
