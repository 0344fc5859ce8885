"""A folder of images, or shards, before training: unreadable files, unusual properties, and settings that
suit them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import Path

import numpy as np

from ..data.facing import FACING, facing, suited_channels
from ..data.levels import CLIPPED, TOLERANCE, white_of
from ..data.unused import FOLDERS, FORMATS, HIDDEN, LINKS, OTHER, STRAY, Unused
from ..imaging import is_deep
from ..printable import printable
from .finding import Finding
from .survey import MANY_COLOURS, Subject, Survey, open_subject, survey

LEAST, SIZES = 16, (64, 128, 256)
"""Shorter sides in pixels: sizes that are suggested; below the first of these any multiple of 4."""


def examine_files(seen: Survey) -> list[Finding]:
    """Files that cannot be read, duplicates, too few."""
    found = []
    if seen.broken:
        text = f"{len(seen.broken)} of {len(seen.opened)} files cannot be read: {seen.named(seen.broken)}"
        found.append(Finding("unreadable", text, "training leaves them out; remove or replace them"))
    if seen.refused:
        why = ", ".join(dict.fromkeys(words for _, words in seen.refused))
        text = (
            f"{len(seen.refused)} of {len(seen.opened)} files cannot be opened ({why}):"
            f" {seen.named([i for i, _ in seen.refused])}"
        )
        found.append(
            Finding("cannot_open", text, "training stops at the first of them; check the rights and the disk")
        )
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
    """Files beside the images that are not read; a problem if they may be images."""
    found = []
    if lost := unused.summary((FORMATS,)):
        found.append(
            Finding(
                "other_formats",
                f"not used: {lost}",
                "training leaves them out; convert them, or take them away",
            )
        )
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
    kinds = {
        kind: {n: some for n, some in seen.levels.items() if (some.dtype.kind == "f") == kind}
        for kind in (False, True)
    }
    whites = {kind: white_of(list(some.values())) for kind, some in kinds.items() if some}
    text = f"{deep.total()} images have more than 8 bits per level ({', '.join(deep)})"
    if len(set(whites.values())) > 1:
        text += f", with white at {whites[False]:g} in whole numbers and {whites[True]:g} in floating point"
        found.append(Finding("two_scales", text, "training wants one scale: convert one kind"))
        return found
    white = next(iter(whites.values()), 0.0)
    hint = f"if white is another level, say data.white; as it is: data.white {white:g}"
    found.append(
        Finding("levels", f"{text}: white is taken to be {white:g} in all of them", hint, wrong=False)
    )
    dark = [
        n
        for n, some in kinds[True].items()
        if white > TOLERANCE and len(some) and 0 < some.max() <= TOLERANCE
    ]
    if dark:
        text = (
            f"{len(dark)} images of floating point end at 1 where others go to {white:g}: {seen.named(dark)}"
        )
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
        hint = "they will be blurred when enlarged; leave them out"
        found.append(Finding("tiny", text, hint, wrong=len(tiny) > 0.01 * len(sides)))
    if len(set(seen.sizes)) > 1:
        text = f"sizes differ: short sides of {min(sides)} to {max(sides)} pixels"
        hint = "nothing to do: images are resized to data.image_size"
        found.append(Finding("mixed_sizes", text, hint, wrong=False))
    ratios = np.array([max(w / h, h / w) for w, h in seen.sizes])
    lost = float(np.mean(1 - 1 / ratios))
    if lost > 0.25:
        text = f"the images are far from square: the centre crop cuts off {lost:.0%} of them on average"
        hint = "give data.image_size as [height, width], or data.crop random or stretch"
        found.append(Finding("far_from_square", text, hint))
    elif len({round(float(r), 1) for r in ratios}) > 1:
        cut = f"the centre crop cuts off {lost:.0%} on average"
        text = f"aspect ratios differ, from 1 to {ratios.max():.2f}: {cut}"
        found.append(Finding("mixed_ratios", text, "", wrong=False))
    return found + examine_colour(seen)


def examine_colour(seen: Survey) -> list[Finding]:
    """Grey images among coloured ones, and transparency."""
    found, grey = [], sum(seen.grey)
    if 0 < grey < len(seen.grey):
        text = f"{grey} of {len(seen.grey)} images are grey, the others coloured"
        hint = "with data.channels 3 the model learns both; take one kind out if that is not wanted"
        found.append(Finding("mixed_colour", text, hint, wrong=False))
    if clear := sum(seen.clear):
        text = f"{clear} of {len(seen.clear)} images have transparent parts"
        hint = "data.channels 4 (grey: 2) trains with alpha; 3 and 1 lay them on white"
        found.append(Finding("transparency", text, hint, wrong=False))
    return found


def examine_palette(root: str, seen: Survey) -> list[Finding]:
    """The colours of small images of one size where they are few, and whether alpha is hard: they suit a
    palette model."""
    count = len(seen.colours)
    if count > MANY_COLOURS or count < 2 or len(set(seen.sizes)) > 1 or max(seen.sizes[0]) > SIZES[0]:
        return []
    alpha = {colour >> 24 for colour in seen.colours}
    kind = "no transparency" if alpha == {255} else "hard alpha" if alpha <= {0, 255} else "soft alpha"
    width, height = seen.sizes[0]
    size = f"{width}" if width == height else quoted(f"[{height},{width}]")
    patch = " --denoiser.patch 2" if width % 2 == height % 2 == 0 and min(width, height) >= 16 else ""
    command = (
        f"d3pm-image train-diffusion --tokenizer palette:{min(count, 256)} --data.source"
        f" {seen.subject.source} --data.root {quoted(root)} --data.image_size {size} --data.channels"
        f" {3 if alpha == {255} else 4}{patch}"
    )
    cut = "" if count <= 256 else ", of which a palette takes 256 by median cut"
    return [Finding("palette", f"{count} colours in all images, {kind}{cut}", command, wrong=False)]


def examine_classes(seen: Survey) -> list[Finding]:
    """Classes by subfolder, or by the labels of shards."""
    subject, found = seen.subject, list[Finding]()
    loose = subject.unused[STRAY]
    if loose:
        some = ", ".join(subject.unused.names(STRAY)[:3]) + (" …" if loose > 3 else "")
        text = f"{loose} images lie beside the class folders ({some}) and are left out"
        hint = "move them into a class folder each; data.labels false uses them, without classes"
        found.append(Finding("loose_files", text, hint))
    if subject.classes is None:
        return [*found, without_classes(seen)]
    if empty := sorted(set(subject.class_names) - set(subject.classes)):
        some = ", ".join(printable(name, 40) for name in empty[:3]) + (" …" if len(empty) > 3 else "")
        text = f"{len(empty)} classes have no image: {some}"
        hint = "the model would be asked for what it never saw; take them out of classnames.txt"
        found.append(Finding("empty_classes", text, hint))
    return [*found, balance(subject)]


def without_classes(seen: Survey) -> Finding:
    """Why there are no classes."""
    subject = seen.subject
    folder = subject.source == "folder"
    beside = [i for i, name in enumerate(subject.names) if folder and "/" not in name]
    if len(beside) in (0, len(subject.names)):
        missing = "no labels" if subject.source == "shards" else "no subfolders"
        return Finding("no_classes", f"{missing}: the model will have no classes", "", wrong=False)
    named = seen.named(beside)
    text = f"{len(beside)} images lie beside the subfolders ({named}), so no classes are used at all"
    return Finding("loose_files", text, "move them into a subfolder each, or say data.labels false")


def balance(subject: Subject) -> Finding:
    """How many images the largest and the smallest class have."""
    counts = Counter(subject.classes)
    (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
    by = "subfolder" if subject.source == "folder" else "label"
    least, most = printable(least, 40), printable(most, 40)
    text = f"{len(counts)} classes by {by}, from {few} images ({least}) to {many} ({most})"
    if len(counts) == 1:
        text = f"all images lie in one {by}, {most}: one class is none"
        return Finding("one_class", text, "name that folder, or leave it", wrong=False)
    if few * 10 < many or few < 10:
        hint = f"the model will hardly know {least}: add images, merge it with another class, or remove it"
        return Finding("imbalance", text, hint)
    return Finding("classes", text, "", wrong=False)


def suggest(root: str, seen: Survey) -> Finding:
    """Settings that suit the images, and the command to begin with."""
    side = float(np.quantile([min(size) for size in seen.sizes], 0.1))
    size = max([s for s in SIZES if s <= side], default=max(LEAST, int(side) // 4 * 4))
    channels = suited_channels(seen.grey, seen.clear)
    classes = None if seen.subject.classes is None else [seen.subject.classes[i] for i in seen.good]
    share = facing(np.stack(seen.thumbs), classes)
    flip = share < FACING
    why = "look alike in the mirror" if flip else "face one way: mirrored, they can be told apart"
    f = 4 if size <= 64 else 8 if size <= 128 else 16
    levels = {4: "[1,2]", 8: "[1,2,2]", 16: "[1,2,2,4]"}[f]
    network = (
        ""
        if f == 4
        else (
            f" --tokenizer.downsampling {f} --tokenizer.multipliers {levels} --tokenizer.quantizer.num_codes"
            " 1024"
        )
    )
    command = (
        f"d3pm-image train-tokenizer --data.source {seen.subject.source} --data.root {quoted(root)}"
        f" --data.image_size {size} --data.channels {channels} --data.flip {str(flip).lower()}{network} --out"
        f" {quoted(f'runs/{run_name(root)}/tokenizer')}"
    )
    text = (
        f"suggested: data.image_size {size} (nine in ten images are at least {side:.0f} pixels),"
        f" data.channels {channels}, data.flip {str(flip).lower()} (the images {why})"
    )
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
    text = (
        f"images: {subject.source} {printable(place.resolve(), 0)}: {len(subject.names)} images, {kinds},"
        f" {' to '.join(sizes)} pixels, {modes}"
    )
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
    found = [
        summary(root, seen),
        *examine_files(seen),
        *examine_shapes(seen),
        *examine_levels(seen),
        *examine_classes(seen),
        *examine_palette(root, seen),
    ]
    found.append(suggest(root, seen))
    if len(seen.opened) < len(seen.subject.names):
        text = f"{len(seen.opened)} of {len(seen.subject.names)} images were read"
        found.insert(0, Finding("partly", text, "--limit 0 reads all", wrong=False))
    return found
