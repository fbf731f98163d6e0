"""Posts: `read(source) -> posts`, `select(posts, where) -> chosen, funnel`; every source ends in one normal form."""
