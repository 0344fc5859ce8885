"""What is measured and trained in the ten minutes in which a GPU can be had."""

LIMIT = "D3PM_IMAGE_STEP_SECONDS"
"""Environment variable with the seconds that a step may take."""
