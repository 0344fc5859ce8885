"""What looks wrong with a run or a folder of images, and what to do: findings of pure checks over logs, files and pictures."""

from .finding import Finding
from .images import examine_images
from .run import examine_run, is_run

__all__ = ["Finding", "examine_images", "examine_run", "is_run"]
