"""Exact Hamiltonian velocity predictors of known densities: the oracles of tests and figures.

`mixture` is for Gaussian mixtures under linear flows, `boxes` for uniform boxes under reflection, `wrapped` for wrapped
Gaussians on a torus.
"""
