"""Along a flow in either direction: latents, likelihoods, what lies between two items, and filling in parts."""
