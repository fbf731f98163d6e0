"""Diffusion maths: schedules, objectives, samplers, guidance and noise. Tensors in, tensors out."""
