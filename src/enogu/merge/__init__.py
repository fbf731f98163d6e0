"""Merging: `merge(formula, models) -> file`; a method is one pure function over tensors."""
