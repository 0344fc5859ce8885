"""The training loop and its parts: based on Accelerate, independent of images and diffusion."""
