"""The embedded default: a drawn booru, small networks and a small tagger. No other room knows of it."""
