"""What every registered part must do, whichever it is; a new one is tested by its name alone."""
