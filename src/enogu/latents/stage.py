"""The latents stage: every picture of a manifest through the VAE, once."""
