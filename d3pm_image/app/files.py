"""Results on disk: PNGs that record their settings, one to download or a zip of several; removed when the
page ends or after an hour."""

from __future__ import annotations

import shutil
import tempfile
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..editing.image_files.files import ImageFile, write_image_file
from ..imaging import save_image

KEPT_S = 3600


class Shelf:
    """A folder of results, with one subfolder per request."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def place(self) -> Path:
        """A new empty folder; folders older than an hour are removed."""
        for old in self.folder.glob("request-*"):
            if time.time() - old.stat().st_mtime > KEPT_S:
                shutil.rmtree(old, ignore_errors=True)
        return Path(tempfile.mkdtemp(prefix="request-", dir=self.folder))

    def put(
        self,
        images: Sequence[Image.Image],
        metadata: Sequence[Mapping[str, Any]],
        stem: str,
        source: ImageFile | None = None,
    ) -> tuple[list[Path], list[str]]:
        """Write results as PNGs.

        Args:
            metadata: Settings of each image.
            stem: Of the names.
            source: The file that they were made from, whose mode and metadata they keep.

        Returns:
            The files, and a line where one could not hold every pixel as it was.
        """
        place, paths, notes = self.place(), [], []
        for number, (image, own) in enumerate(zip(images, metadata, strict=True), 1):
            path = place / (f"{stem}.png" if len(images) == 1 else f"{stem}-{number:02d}.png")
            if source is None:
                save_image(image, path, dict(own))
            else:
                note = write_image_file(image, path, source, own)
                notes += [note] if note else []
            paths.append(path)
        return paths, notes

    def views(self, images: Sequence[Image.Image]) -> list[Path]:
        """Write images that are only looked at as PNGs without settings."""
        place = self.place()
        paths = [place / f"view-{number:02d}.png" for number in range(1, len(images) + 1)]
        for image, path in zip(images, paths, strict=True):
            save_image(image, path, {})
        return paths

    def bundle(self, paths: Sequence[Path]) -> Path | None:
        """The file of the download button: the one file, or a zip of several."""
        if len(paths) < 2:
            return paths[0] if paths else None
        target = paths[0].with_name(f"{paths[0].stem.rpartition('-')[0]}.zip")
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
            for path in paths:
                file.write(path, path.name)
        return target
