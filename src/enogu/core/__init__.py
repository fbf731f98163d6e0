"""The core every room stands on: records, networks and diffusion maths."""
