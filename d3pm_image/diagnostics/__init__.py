"""Problems of a run or a folder of images, and what to do: findings of checks over logs, files and images."""

from .finding import Finding, listed
from .images import examine_images
from .report import examine
from .run import examine_run, is_run

__all__ = ["Finding", "examine", "examine_images", "examine_run", "is_run", "listed"]
