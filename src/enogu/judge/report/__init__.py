"""The report: one self-contained page over every finished stage."""
