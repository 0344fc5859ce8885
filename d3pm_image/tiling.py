"""Making images seamless, as one more edit of a pipeline."""

from __future__ import annotations

from typing import Any, Protocol, cast, get_args, overload

from torch import Tensor

from .config import check
from .config.editing import Axis
from .editing.inputs import ImagesLike, Several, Single, image_list
from .editing.outpaint import outpaint_window
from .editing.regions import Window
from .editing.rolling import rolled
from .editing.seamless import FEATHER, faded, passes
from .edits import Edited, Edits
from .imaging import Images
from .keywords import NP, PIL, PT, Array, OutputType, check_output, delivered, scalar
from .labels import Labels
from .tokenizer import Palette


class Tiling(Edits, Protocol):
    """Edits, and :meth:`tile`."""

    def feather_of(self, feather: int) -> int:
        """The feather of :meth:`tile`: 0 in place of the default where a palette model mixes no colours."""
        return 0 if feather == FEATHER and isinstance(self.tokenizer, Palette) else feather

    # fmt: off
    @overload
    def tile(
        self, image: Single, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: PIL = "pil", **how: Any,
    ) -> Images: ...
    @overload
    def tile(
        self, image: Single, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: PT, **how: Any,
    ) -> Tensor: ...
    @overload
    def tile(
        self, image: Single, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: NP, **how: Any,
    ) -> Array: ...
    @overload
    def tile(
        self, image: Several, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: PIL = "pil", **how: Any,
    ) -> list[Images]: ...
    @overload
    def tile(
        self, image: Several, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: PT, **how: Any,
    ) -> list[Tensor]: ...
    @overload
    def tile(
        self, image: Several, labels: Labels = None, variants: int = 1, axis: Axis = "both", width: int = 0,
        feather: int = FEATHER, window: Window = "auto", *, output_type: NP, **how: Any,
    ) -> list[Array]: ...
    @overload
    def tile(
        self, image: ImagesLike, labels: Labels = None, variants: int = 1, axis: Axis = "both",
        width: int = 0, feather: int = FEATHER, window: Window = "auto", *,
        output_type: OutputType = "pil", **how: Any,
    ) -> Edited: ...
    # fmt: on
    def tile(
        self,
        image: ImagesLike,
        labels: Labels = None,
        variants: int = 1,
        axis: Axis = "both",
        width: int = 0,
        feather: int = FEATHER,
        window: Window = "auto",
        output_type: OutputType = "pil",
        **how: Any,
    ) -> Edited:
        """Make images seamless: a cross of bands over their borders is repainted, and every other pixel comes
        back exactly as it was; see :mod:`~d3pm_image.editing.seamless`. Any model does.

        Args:
            image, labels, variants: As in :meth:`~d3pm_image.edits.Edits.inpaint`.
            axis: Along which the image shall repeat: ``x`` (beside itself), ``y`` (below itself) or ``both``.
            width: Pixels of each band, half of them on either side of the border; 0 is a quarter of the side
                that it lies across, at most :data:`~d3pm_image.editing.seamless.MOST_WIDE`.
            feather: Pixels at either edge of a band, inside it, over which the painting fades into the image;
                at most half of the narrowest band of all images. A palette model mixes no colours: there the
                default is 0.
            window: As in :meth:`~d3pm_image.edits.Edits.outpaint`: ``auto`` keeps an image's own scale.
            how: ``ring`` of :meth:`~d3pm_image.edits.Edits.inpaint`, and how codes are drawn.

        Returns:
            As :meth:`~d3pm_image.edits.Edits.inpaint`.

        Raises:
            ConfigError: another axis, or bands that leave no known pixel; unknown labels, impossible
                settings.
        """
        check_output(output_type)
        check(axis in get_args(Axis), "axis", axis, f"use one of {', '.join(get_args(Axis))}")
        given, single = image_list(image)
        check(bool(given), "image", 0, "give at least one image")
        variants, width = scalar(variants), scalar(width)
        sizes = [(one.height, one.width) for one in given]
        feather = self.feather_of(scalar(feather))
        fade = min(faded(size, axis, width, feather) for size in sizes)
        plans = [passes(size, axis, width, fade, self.image_size) for size in sizes]
        ids = [
            None if i == self.no_label else i
            for i in self.label_ids([None] if labels is None else labels, len(given))
        ]
        window = outpaint_window(window, sizes, self.image_size)
        results, each = list(given), variants
        for steps in zip(*plans, strict=True):
            # after the first pass there is an image for each result, under the result's number
            copies = len(results) // len(given)
            every = [one for one in steps for _ in range(copies)]
            turned = [rolled(one, *step.roll) for one, step in zip(results, every, strict=True)]
            own = [label for label in ids for _ in range(copies)]
            masks = [step.mask for step in every]
            drawn = self.inpaint(turned, masks, own, each, window=window, feather=fade, **how)
            back = [step.roll for step in every for _ in range(each)]
            flat = [result for several in cast("list[Images]", drawn) for result in several]
            results = [rolled(one, -roll[0], -roll[1]) for one, roll in zip(flat, back, strict=True)]
            each = 1
        found = [
            delivered(
                Images(results[i * variants : (i + 1) * variants]), output_type, self.tokenizer.channels
            )
            for i in range(len(given))
        ]
        return cast("Edited", found[0] if single else found)
