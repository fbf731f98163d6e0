"""One merge method per file; a new file here is a new method, found by its name."""
