"""Typed rows, hashes, seeds and atomic files: what the rooms hand to each other."""
