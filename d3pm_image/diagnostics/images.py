"""A folder of images, or shards, before training: what cannot be read, what is odd about it, and settings that suit it.

Flips are judged by the pictures. Of a set without a facing, a picture and its mirror image are equally likely, so within a class the difference of
the two averages to 0; shoes that all point left, and digits, leave a mean difference. Its share of the differences' size says which it is: 0.00 for photographs of flowers, 0.01 for satellite pictures, 0.37 for
digits and 0.43 for clothes by class, 0.04 and 0.10 without classes.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from ..cache_folder import cache_root
from ..config import need
from ..config.data import implied_source
from ..data.colour import is_foreign
from ..data.failures import is_decoder_error
from ..data.image_source import Files, text_of
from ..data.levels import CLIPPED, LOOKED_AT, TOLERANCE, finite_levels, is_deep, white_of
from ..data.listing import list_images
from ..data.shards import open_shards
from ..data.sources import stray
from ..data.spread import spread_over
from ..data.unused import FOLDERS, FORMATS, HIDDEN, LINKS, OTHER, STRAY, Unused
from ..imaging import plain
from ..printable import printable
from .finding import Finding

LEAST, SIZES = 16, (64, 128, 256)
"""Shorter sides in pixels: what training makes sense from, and what is suggested; below the first of these any multiple of 4."""
THUMB = 16
FACING = 0.03  # share of the mirror differences that their class means explain, above which flips change the picture's meaning
COLOURLESS = 4.0  # largest difference of colour channels, of 255, in what counts as grey (JPEG leaves a little)


@dataclass(frozen=True)
class Subject:
    """What is examined: a folder of images, or shards.

    Args:
        source: folder or shards, as ``data.source`` has it.
        names: Of all images.
        classes: Class of every image, or None.
        class_names: Those that shards name, whether images have them or not.
        load, read: Image and bytes of the i-th.
        unused: What lies there besides.
    """

    source: str
    names: Sequence[str]
    classes: list[str] | None
    class_names: tuple[str, ...]
    load: Callable[[int], Image.Image]
    read: Callable[[int], bytes]
    unused: Unused


def open_subject(root: str) -> Subject:
    """The images of a folder, or of shards (a folder, a pattern or a file), as training takes them.

    Raises:
        ConfigError: no images at all, or damaged shards.
    """
    kind = implied_source(root)
    if kind == "shards":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # labels that are missing are a finding
            found = open_shards(root, cache_root())
        named = None if found.labels is None else [found.class_names[label] for label in found.labels]
        return Subject(kind, found.names, named, found.class_names, found.load, found.load.read, found.unused)
    place = Path(root)
    listing = list_images(place)
    beside = stray(listing.files)
    files = [path for path in listing.files if path not in set(beside)] if beside else listing.files
    also = f" ({listing.unused.summary()})" if listing.unused else ""
    hint = f"holds neither a run nor images{also}; name a run's folder, a folder of images or shards"
    need(bool(files), "folder", root, hint)
    unused = listing.unused.plus((str(path), STRAY, path.suffix.lower()) for path in beside)
    named = [text_of(path.parts[0]) for path in files] if all(len(path.parts) > 1 for path in files) else None
    load = Files([place / path for path in files])
    return Subject(kind, [text_of(path) for path in files], named, (), load, lambda i: load.paths[i].read_bytes(), unused)


@dataclass
class Survey:
    """What was seen of the images that were opened.

    Args:
        opened: Numbers of the images that were looked at.
        broken: Those that cannot be decoded. refused: Those that the system does not give, with its words.
        good: Those that can be read; the lists below have one entry for each of these.
    """

    subject: Subject
    opened: list[int]
    broken: list[int] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    good: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    modes: list[str] = field(default_factory=list)
    grey: list[bool] = field(default_factory=list)
    foreign: list[bool] = field(default_factory=list)
    hashes: list[str] = field(default_factory=list)
    thumbs: list[np.ndarray] = field(default_factory=list)
    levels: dict[int, np.ndarray] = field(default_factory=dict)
    """Levels of the first images of more than 8 bits, by number."""

    def named(self, numbers: Sequence[int]) -> str:
        """The first three names."""
        return ", ".join(printable(self.subject.names[i]) for i in numbers[:3]) + (" …" if len(numbers) > 3 else "")


def survey(subject: Subject, limit: int) -> Survey:
    """Read up to ``limit`` of the images (0: all), spread over them."""
    count = len(subject.names)
    chosen = range(count) if limit == 0 or limit >= count else spread_over(count, limit).tolist()
    seen = Survey(subject, list(chosen))
    for number in chosen:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's remarks on odd files that it can read
                image = subject.load(number)
                colour = plain(image, 3)
            look(seen, number, image, colour)
        except Exception as error:
            if is_decoder_error(error):  # whatever a broken file raises, it cannot be trained on
                seen.broken.append(number)
            elif isinstance(error, OSError):
                seen.refused.append((number, error.strerror or str(error)))
            else:
                raise
    return seen


def look(seen: Survey, number: int, image: Image.Image, colour: Image.Image) -> None:
    """Note what is to be known of an image."""
    small = np.asarray(colour.resize((THUMB, THUMB), Image.Resampling.BOX), np.float32)
    digest = hashlib.sha256(seen.subject.read(number)).hexdigest()
    seen.good.append(number)
    seen.sizes.append(image.size)
    seen.modes.append(image.mode)
    seen.grey.append(image.mode in ("1", "L", "LA") or is_deep(image.mode) or float(np.ptp(small, -1).max()) <= COLOURLESS)
    seen.foreign.append(is_foreign(image))
    seen.hashes.append(digest)
    seen.thumbs.append(small.mean(-1))
    if is_deep(image.mode) and len(seen.levels) < LOOKED_AT:
        seen.levels[number] = finite_levels(image)


def facing(thumbs: np.ndarray, classes: list[str] | None) -> float:
    """Share of the mirror differences x - flip(x) that their class means explain, without what chance explains; 0 where they have no facing.

    Args:
        thumbs: (n, h, w) grey.
    """
    groups = np.asarray(classes if classes is not None else [""] * len(thumbs))
    difference = (thumbs - thumbs[:, :, ::-1]).reshape(len(thumbs), -1)
    whole = explained = 0.0
    for name in np.unique(groups):
        rows = difference[groups == name]
        if len(rows) > 1:
            mean = rows.mean(0)
            whole += float((rows**2).sum())
            explained += len(rows) * float((mean**2).sum() - rows.var(0, ddof=1).sum() / len(rows))
    return max(0.0, explained / whole) if whole else 0.0


def examine_files(seen: Survey) -> list[Finding]:
    """Files that cannot be read, duplicates, too few."""
    found = []
    if seen.broken:
        text = f"{len(seen.broken)} of {len(seen.opened)} files cannot be read: {seen.named(seen.broken)}"
        found.append(Finding("unreadable", text, "training leaves them out; remove or replace them"))
    if seen.refused:
        why = ", ".join(dict.fromkeys(words for _, words in seen.refused))
        text = f"{len(seen.refused)} of {len(seen.opened)} files cannot be opened ({why}): {seen.named([i for i, _ in seen.refused])}"
        found.append(Finding("cannot_open", text, "training stops at the first of them; check the rights and the disk"))
    found += examine_unused(seen.subject.unused)
    count = len(seen.subject.names) - len(seen.broken) - len(seen.refused)
    if count < 100:
        found.append(
            Finding(
                "too_few",
                f"{count} images are too few: the model will repeat them",
                "gather some hundreds; data.flip true doubles them where mirror images are as good",
            )
        )
    elif count < 1000:
        found.append(
            Finding(
                "few",
                f"{count} images are few: expect overfitting",
                "use a small denoiser (width 128, depth 4) with denoiser.dropout 0.1 and look at validation",
                wrong=False,
            )
        )
    twice = {digest for digest, number in Counter(seen.hashes).items() if number > 1}
    again = [number for number, digest in zip(seen.good, seen.hashes) if digest in twice]
    extra = len(seen.hashes) - len(set(seen.hashes))
    if extra:
        text = f"{extra} files are exact copies of others: {seen.named(again)}"
        hint = "remove the copies: they count double in training and leak into the held-out images"
        found.append(Finding("duplicates", text, hint, wrong=extra > 0.01 * len(seen.hashes)))
    return found


def examine_unused(unused: Unused) -> list[Finding]:
    """What lies beside the images and is not read; wrong where it may be images that somebody misses."""
    found = []
    if lost := unused.summary((FORMATS,)):
        found.append(Finding("other_formats", f"not used: {lost}", "training leaves them out; convert them, or take them away"))
    if rest := unused.summary((OTHER, HIDDEN, FOLDERS, LINKS)):
        found.append(Finding("not_used", f"not used: {rest}", "", wrong=False))
    return found


def examine_levels(seen: Survey) -> list[Finding]:
    """Images of more than 8 bits per level, and colour profiles."""
    found = []
    if foreign := sum(seen.foreign):
        text = f"{foreign} images have a colour profile other than that of sRGB"
        found.append(Finding("profiles", text, "nothing to do: training converts them to sRGB", wrong=False))
    deep = Counter(mode for mode in seen.modes if is_deep(mode))
    if not deep:
        return found
    kinds = {kind: {n: some for n, some in seen.levels.items() if (some.dtype.kind == "f") == kind} for kind in (False, True)}
    whites = {kind: white_of(list(some.values())) for kind, some in kinds.items() if some}
    text = f"{deep.total()} images have more than 8 bits per level ({', '.join(deep)})"
    if len(set(whites.values())) > 1:
        text += f", with white at {whites[False]:g} in whole numbers and {whites[True]:g} in floating point"
        found.append(Finding("two_scales", text, "training wants one scale: convert one kind"))
        return found
    white = next(iter(whites.values()), 0.0)
    hint = f"if white is another level, say data.white; as it is: data.white {white:g}"
    found.append(Finding("levels", f"{text}: white is taken to be {white:g} in all of them", hint, wrong=False))
    dark = [n for n, some in kinds[True].items() if white > TOLERANCE and len(some) and 0 < some.max() <= TOLERANCE]
    if dark:
        text = f"{len(dark)} images of floating point end at 1 where others go to {white:g}: {seen.named(dark)}"
        found.append(Finding("other_scale", text, "they will be almost black; bring them to one scale"))
    below = [n for n, some in seen.levels.items() if len(some) and float(np.mean(some < 0)) > CLIPPED]
    if below:
        text = f"{len(below)} images have levels below 0, which become black: {seen.named(below)}"
        found.append(Finding("negative", text, f"bring the levels to 0 … {white:g}"))
    return found


def examine_shapes(seen: Survey) -> list[Finding]:
    """Sizes, aspect ratios and colour."""
    found = []
    sides = [min(size) for size in seen.sizes]
    tiny = [number for number, side in zip(seen.good, sides) if side < LEAST]
    if tiny:
        text = f"{len(tiny)} images are smaller than {LEAST} pixels: {seen.named(tiny)}"
        found.append(Finding("tiny", text, "they will be blurred when enlarged; leave them out", wrong=len(tiny) > 0.01 * len(sides)))
    if len(set(seen.sizes)) > 1:
        text = f"sizes differ: short sides of {min(sides)} to {max(sides)} pixels"
        found.append(Finding("mixed_sizes", text, "nothing to do: images are resized to data.image_size", wrong=False))
    ratios = np.array([max(w / h, h / w) for w, h in seen.sizes])
    lost = float(np.mean(1 - 1 / ratios))
    if lost > 0.25:
        text = f"the images are far from square: the centre crop cuts off {lost:.0%} of them on average"
        found.append(Finding("far_from_square", text, "give data.image_size as [height, width], or data.crop random or stretch"))
    elif len({round(float(r), 1) for r in ratios}) > 1:
        found.append(
            Finding(
                "mixed_ratios",
                f"aspect ratios differ, from 1 to {ratios.max():.2f}: the centre crop cuts off {lost:.0%} on average",
                "",
                wrong=False,
            )
        )
    grey = sum(seen.grey)
    if 0 < grey < len(seen.grey):
        text = f"{grey} of {len(seen.grey)} images are grey, the others coloured"
        found.append(
            Finding(
                "mixed_colour", text, "with data.channels 3 the model learns both; take one kind out if that is not wanted", wrong=False
            )
        )
    if clear := sum(mode in ("RGBA", "LA", "PA") for mode in seen.modes):
        found.append(Finding("transparency", f"{clear} images have transparency, which is laid on white", "", wrong=False))
    return found


def examine_classes(seen: Survey) -> list[Finding]:
    """Classes by subfolder."""
    subject, found = seen.subject, list[Finding]()
    classes, loose = subject.classes, subject.unused[STRAY]
    if loose:
        named = subject.unused.names(STRAY)
        text = f"{loose} images lie beside the class folders ({', '.join(named[:3])}{' …' if loose > 3 else ''}) and are left out"
        found.append(Finding("loose_files", text, "move them into a class folder each; data.labels false uses them, without classes"))
    if classes is None:
        beside = [i for i, name in enumerate(subject.names) if "/" not in name] if subject.source == "folder" else []
        if len(beside) in (0, len(subject.names)):
            missing = "no labels" if subject.source == "shards" else "no subfolders"
            return [*found, Finding("no_classes", f"{missing}: the model will have no classes", "", wrong=False)]
        text = f"{len(beside)} images lie beside the subfolders ({seen.named(beside)}), so no classes are used at all"
        return [*found, Finding("loose_files", text, "move them into a subfolder each, or say data.labels false")]
    if empty := sorted(set(subject.class_names) - set(classes)):
        text = f"{len(empty)} classes have no image: {', '.join(printable(name, 40) for name in empty[:3])}{' …' if len(empty) > 3 else ''}"
        found.append(Finding("empty_classes", text, "the model would be asked for what it never saw; take them out of classnames.txt"))
    counts = Counter(classes)
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    by = "subfolder" if subject.source == "folder" else "label"
    least, most = printable(least, 40), printable(most, 40)
    text = f"{len(counts)} classes by {by}, from {few} images ({least}) to {many} ({most})"
    if len(counts) == 1:
        text = f"all images lie in one {by}, {most}: one class is none"
        return [*found, Finding("one_class", text, "name that folder, or leave it", wrong=False)]
    if few * 10 < many or few < 10:
        hint = f"the model will hardly know {least}: add images, merge it with another class, or remove it"
        return [*found, Finding("imbalance", text, hint)]
    return [*found, Finding("classes", text, "", wrong=False)]


def suggest(root: str, seen: Survey) -> Finding:
    """Settings that suit the images, and the command to begin with."""
    side = float(np.quantile([min(size) for size in seen.sizes], 0.1))
    size = max([s for s in SIZES if s <= side], default=max(LEAST, int(side) // 4 * 4))
    channels = 1 if all(seen.grey) else 3
    classes = None if seen.subject.classes is None else [seen.subject.classes[i] for i in seen.good]
    share = facing(np.stack(seen.thumbs), classes)
    flip = share < FACING
    why = "look alike in the mirror" if flip else "face one way: mirrored, they can be told apart"
    f = 4 if size <= 64 else 8 if size <= 128 else 16
    levels = {4: "[1,2]", 8: "[1,2,2]", 16: "[1,2,2,4]"}[f]
    network = "" if f == 4 else f" --tokenizer.downsampling {f} --tokenizer.multipliers {levels} --tokenizer.quantizer.num_codes 1024"
    command = (
        f"d3pm-image train-tokenizer --data.source {seen.subject.source} --data.root {quoted(root)} --data.image_size {size} --data.channels {channels}"
        f" --data.flip {str(flip).lower()}{network} --out {quoted(f'runs/{run_name(root)}/tokenizer')}"
    )
    text = f"suggested: data.image_size {size} (nine in ten images are at least {side:.0f} pixels), data.channels {channels}, data.flip {str(flip).lower()} (the images {why})"
    return Finding("begin", text, command, wrong=False)


def summary(root: str, seen: Survey) -> Finding:
    """What was read: place, number of images, classes, sizes, modes."""
    subject = seen.subject
    place = Path(root).expanduser()
    classes = len(set(subject.classes)) if subject.classes is not None else 0
    area = lambda size: (size[0] * size[1], size)  # noqa: E731
    sizes = dict.fromkeys(f"{w}x{h}" for w, h in (min(seen.sizes, key=area), max(seen.sizes, key=area)))
    modes = ", ".join(mode for mode, _ in Counter(seen.modes).most_common())
    kinds = f"{classes or 'no'} class{'es' if classes != 1 else ''}"
    text = f"images: {subject.source} {printable(place.resolve(), 0)}: {len(subject.names)} images, {kinds}, {' to '.join(sizes)} pixels, {modes}"
    return Finding("read", text, "", wrong=False)


def quoted(text: str) -> str:
    """A word of a shell's command line."""
    return shlex.quote(printable(text, 0))


def run_name(root: str) -> str:
    """A name for the run: that of the folder, or of what stands before the numbers of a pattern of shards."""
    place = Path(root).expanduser()
    name = place.resolve().name if place.is_dir() else re.split(r"[*?{.]", place.name)[0].strip("-_")
    return name or "images"


def examine_images(root: str | Path, limit: int = 0) -> list[Finding]:
    """All findings of a folder of images or of shards, the command to begin with last.

    Args:
        limit: Images to read, spread over the folder; 0 reads all.

    Raises:
        ConfigError: no images in it.
    """
    root = str(root)
    seen = survey(open_subject(root), limit)
    if not seen.good:
        return examine_files(seen)
    found = [summary(root, seen), *examine_files(seen), *examine_shapes(seen), *examine_levels(seen), *examine_classes(seen)]
    found.append(suggest(root, seen))
    if len(seen.opened) < len(seen.subject.names):
        text = f"{len(seen.opened)} of {len(seen.subject.names)} images were read"
        found.insert(0, Finding("partly", text, "--limit 0 reads all", wrong=False))
    return found
