"""The train room: `train(plan, checkpoint, phases) -> checkpoints`, one loop for every recipe.

Time is counted in images. All randomness comes from (seed, purpose, image count), so a resumed run continues
bit for bit and the batch size does not change the noise that an image count meets.
"""
