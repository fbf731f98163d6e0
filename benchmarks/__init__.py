"""Measurements that print themselves again: one module per subject, results beside them as Markdown."""
