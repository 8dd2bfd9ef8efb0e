"""Training: `trainer` makes steps and knows its whole state; `session` keeps a run folder up to date around it."""
