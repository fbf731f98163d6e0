"""Pictures to latents: `bucket(width, height) -> shape`, `encode(pictures) -> shards`, `plan(index) -> batches`."""
