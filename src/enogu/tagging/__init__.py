"""Models that look at pictures: what they see is kept once, and what follows from it is chosen later."""
