"""How good samples are. `frechet` compares two sets of features."""
