"""The training loop and what it needs: it knows Accelerate and nothing of diffusion."""
