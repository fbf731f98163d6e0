"""Captions: `caption(post, rules, rng) -> text`, a fold over small processors; words come from tables."""
