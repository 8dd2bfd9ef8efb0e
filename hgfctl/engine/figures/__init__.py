"""One module a figure; each returns a picture that its caller saves or shows. Needs no display."""
