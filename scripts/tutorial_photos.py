"""Photographs as one has them: a folder with a subfolder per class, and two images that training does not
see.

    python scripts/tutorial_photos.py photos own                      # flowers: sunflowers, roses and tulips
    python scripts/tutorial_photos.py photos own --source flowers102 --download --classes all
    python scripts/tutorial_photos.py photos own --source FOLDER      # any folder with class subfolders

Writes photos/CLASS/NUMBER.jpg, at most --limit per class, without the last image of each; those of the first
and the last class become own/1.jpg and own/2.jpg. Nothing is downloaded unless --download says so."""

from __future__ import annotations

import argparse
from pathlib import Path

from d3pm_image.cache_folder import default_root
from d3pm_image.config import ConfigError, DataConfig
from d3pm_image.data.image_source import ImageSource
from d3pm_image.data.sources import open_source

FLOWERS = "flower_photos_128/train"  # tf_flowers photographs, CC-BY, cut to 128 pixels


def source(name: str, download: bool) -> ImageSource:
    """The labelled images of a folder, of a set by name, or of ``flowers``, which lies among the data
    sets."""
    if name == "flowers" or Path(name).is_dir():
        root = str(default_root() / FLOWERS) if name == "flowers" else name
        return open_source(DataConfig("folder", root=root, val_root="."))
    return open_source(DataConfig(name, download=download))


def main() -> None:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=form)
    parser.add_argument("photos", type=Path, help="folder to make")
    parser.add_argument("own", type=Path, help="folder for two images that training does not see")
    parser.add_argument("--source", default="flowers", help="flowers, a folder of classes, or a set's name")
    classes = "roses,sunflowers,tulips"
    parser.add_argument("--classes", default=classes, help="names separated by commas, or all")
    parser.add_argument("--limit", type=int, default=600, help="images per class at most")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch a missing set")
    args = parser.parse_args()
    try:
        images = source(args.source, args.download)
    except ConfigError as error:
        parser.error(f"{error}; --source takes any folder with class subfolders")
    if images.labels is None:
        parser.error(f"{args.source} has no classes: put the images into a subfolder per class")
    classes = images.class_names if args.classes == "all" else args.classes.split(",")
    unknown = sorted(set(classes) - set(images.class_names))
    if unknown:
        parser.error(f"no class {unknown[0]!r} in {args.source}; it has {', '.join(images.class_names)}")
    for name in classes:
        number = images.class_names.index(name)
        chosen = [i for i, label in enumerate(images.labels) if label == number][: args.limit + 1]
        (args.photos / name).mkdir(parents=True, exist_ok=True)
        for place, index in enumerate(chosen[:-1]):
            images.load(index).convert("RGB").save(args.photos / name / f"{place:04d}.jpg", quality=95)
        if name in (classes[0], classes[-1]):
            args.own.mkdir(parents=True, exist_ok=True)
            own = args.own / f"{1 if name == classes[0] else 2}.jpg"
            images.load(chosen[-1]).convert("RGB").save(own, quality=95)
        print(f"{args.photos / name}: {len(chosen) - 1} images")


if __name__ == "__main__":
    main()
