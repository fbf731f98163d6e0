"""Sentences from a program of the maker's own: asked in JSON lines, answers checked, kept as they come."""
