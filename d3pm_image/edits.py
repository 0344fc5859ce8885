"""The edits of a pipeline. The type of the result follows from the type of the image and from
``output_type``."""

from __future__ import annotations

from typing import Any, Protocol, cast, overload

import torch
from torch import Tensor

from .config import Tile, check
from .data.levels import remembered_white
from .diffusion import Process
from .editing.inputs import ImageLike, ImagesLike, Masks, Several, Single, gather, image_list
from .editing.interpolate import Mix, interpolate
from .editing.outpaint import extend, outpaint_window
from .editing.regions import Size, Window
from .editing.repaint import InpaintConfig, repaint
from .imaging import Images, to_pil, with_white
from .keywords import NP, PIL, PT, Array, Delivered, OutputType, check_output, delivered, scalar
from .labels import Labels
from .sampling.request import Request
from .types import Grid, Tokenizer

Edited = Delivered | list[Images] | list[Tensor] | list[Array]
"""Results of one image, or a list of results of several images."""


class Edits(Protocol):
    """The editing methods of :class:`~d3pm_image.Pipeline`, and the members that they need."""

    tokenizer: Tokenizer
    process: Process
    image_size: Size
    grid: Grid
    no_label: int
    metadata: dict[str, Any]

    @property
    def repeats(self) -> Tile:
        """Axes along which the model's images repeat."""

    @property
    def device(self) -> torch.device:
        """Where the networks are."""

    def predict(
        self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: Grid, where: Tensor | None = None
    ) -> Tensor:
        """Logits (B, N, K)."""

    def request(self, **drawing: Any) -> Request:
        """A checked request to draw codes."""

    def label_ids(self, labels: Labels, count: int, first: int = 0) -> list[int]:
        """Class numbers of ``count`` images."""

    def tensors(self, images: ImagesLike) -> Tensor:
        """Images at the model's size, (B, C, h, w) in [0, 1]."""

    # fmt: off
    @overload
    def inpaint(
        self, image: Single, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: PIL = "pil",
        **drawing: Any,
    ) -> Images: ...
    @overload
    def inpaint(
        self, image: Single, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: PT, **drawing: Any,
    ) -> Tensor: ...
    @overload
    def inpaint(
        self, image: Single, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: NP, **drawing: Any,
    ) -> Array: ...
    @overload
    def inpaint(
        self, image: Several, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: PIL = "pil",
        **drawing: Any,
    ) -> list[Images]: ...
    @overload
    def inpaint(
        self, image: Several, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: PT, **drawing: Any,
    ) -> list[Tensor]: ...
    @overload
    def inpaint(
        self, image: Several, mask: Masks, labels: Labels = None, variants: int = 1, ring: int | None = None,
        window: Window = "auto", feather: int = 0, strength: float = 1.0, *, output_type: NP, **drawing: Any,
    ) -> list[Array]: ...
    @overload
    def inpaint(
        self, image: ImagesLike, mask: Masks, labels: Labels = None, variants: int = 1,
        ring: int | None = None, window: Window = "auto", feather: int = 0, strength: float = 1.0, *,
        output_type: OutputType = "pil", **drawing: Any,
    ) -> Edited: ...
    # fmt: on
    def inpaint(
        self,
        image: ImagesLike,
        mask: Masks,
        labels: Labels = None,
        variants: int = 1,
        ring: int | None = None,
        window: Window = "auto",
        feather: int = 0,
        strength: float = 1.0,
        output_type: OutputType = "pil",
        **drawing: Any,
    ) -> Edited:
        """Repaint the masked part of images; every pixel outside the mask comes back exactly as it was.

        Hidden pixels are replaced by a continuation of the known ones before encoding, so that they do not
        influence the result.

        Args:
            image: An image, or several of any sizes and modes, as
                :func:`~d3pm_image.editing.inputs.image_list` takes them.
            mask: What to repaint (:func:`~d3pm_image.editing.masks.as_mask`), one for all images or a list
                with one for each.
            labels: Class of what to paint (number or name), one for all or one per image; None for no class.
            variants: Results per image.
            ring: Code cells around the mask that are redrawn as well; None is as many as the feather needs.
            window: Part of an image that the model sees: the ``whole`` image at the model's size; the mask's
                neighbourhood, reduced to that size if needed (``crop``) or at its own scale (``tiles``);
                ``auto``: crop where an image is larger than the model's size.
            feather: Pixels around the mask over which the result fades into the image, inside drawn cells;
                0 is a hard seam.
            strength: Under 1 starts from the present content, see :meth:`vary`.
            output_type: ``pil``, ``pt`` or ``np``.
            drawing: As in :meth:`request`; variant j of image i is number i·variants + j.

        Returns:
            ``variants`` images for one image, or a list of such lists, in the input's size and mode; or
            float32 tensors or arrays in [0, 1], grey or colour as the model is.

        Raises:
            ConfigError: a mask that does not fit, unknown labels, impossible settings.
        """
        check_output(output_type)
        variants, ring, feather, strength = scalar(variants), scalar(ring), scalar(feather), scalar(strength)
        images, masks, single = gather(image, mask)
        images = [with_white(one, remembered_white(self.metadata)) for one in images]
        ids = self.label_ids([None] if labels is None else labels, len(images))
        results = repaint(
            self,
            self.request(**drawing),
            InpaintConfig(window, ring, feather, strength),
            images,
            masks,
            ids,
            variants,
        )
        found = [
            delivered(variants_of_one, output_type, self.tokenizer.channels) for variants_of_one in results
        ]
        return cast("Edited", found[0] if single else found)

    # fmt: off
    @overload
    def outpaint(
        self, image: Single, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: PIL = "pil", **how: Any,
    ) -> Images: ...
    @overload
    def outpaint(
        self, image: Single, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: PT, **how: Any,
    ) -> Tensor: ...
    @overload
    def outpaint(
        self, image: Single, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: NP, **how: Any,
    ) -> Array: ...
    @overload
    def outpaint(
        self, image: Several, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: PIL = "pil", **how: Any,
    ) -> list[Images]: ...
    @overload
    def outpaint(
        self, image: Several, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: PT, **how: Any,
    ) -> list[Tensor]: ...
    @overload
    def outpaint(
        self, image: Several, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: NP, **how: Any,
    ) -> list[Array]: ...
    @overload
    def outpaint(
        self, image: ImagesLike, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0,
        window: Window = "auto", *, output_type: OutputType = "pil", **how: Any,
    ) -> Edited: ...
    # fmt: on
    def outpaint(
        self,
        image: ImagesLike,
        left: int = 0,
        top: int = 0,
        right: int = 0,
        bottom: int = 0,
        window: Window = "auto",
        to: str = "",
        **how: Any,
    ) -> Edited:
        """Continue images by the given numbers of pixels beyond their borders, or ``to`` a format as
        width:height, such as ``"16:9"``; the rest as in :meth:`inpaint`, for the larger canvas.

        ``window="auto"`` keeps an image's own scale (``tiles``) where its canvas is larger than the model's
        size.
        """
        given, single = image_list(image)
        sides = scalar(left), scalar(top), scalar(right), scalar(bottom)
        images, masks = zip(*(extend(i, *sides, to) for i in given), strict=True)
        window = outpaint_window(window, [mask.shape for mask in masks], self.image_size)
        results = self.inpaint(images, masks, window=window, **how)
        return results[0] if single else results

    # fmt: off
    @overload
    def edit(
        self, image: Single, region: Masks, label: Labels, *, output_type: PIL = "pil", **how: Any
    ) -> Images: ...
    @overload
    def edit(
        self, image: Single, region: Masks, label: Labels, *, output_type: PT, **how: Any
    ) -> Tensor: ...
    @overload
    def edit(
        self, image: Single, region: Masks, label: Labels, *, output_type: NP, **how: Any
    ) -> Array: ...
    @overload
    def edit(
        self, image: Several, region: Masks, label: Labels, *, output_type: PIL = "pil", **how: Any
    ) -> list[Images]: ...
    @overload
    def edit(
        self, image: Several, region: Masks, label: Labels, *, output_type: PT, **how: Any
    ) -> list[Tensor]: ...
    @overload
    def edit(
        self, image: Several, region: Masks, label: Labels, *, output_type: NP, **how: Any
    ) -> list[Array]: ...
    @overload
    def edit(
        self, image: ImagesLike, region: Masks, label: Labels, *, output_type: OutputType = "pil", **how: Any
    ) -> Edited: ...
    # fmt: on
    def edit(self, image: ImagesLike, region: Masks, label: Labels, **how: Any) -> Edited:
        """Repaint a region of images as another class: :meth:`inpaint`, whose arguments hold, with a label
        that must be given.

        With ``strength`` under 1 the layout of the present content is kept in part.
        """
        check(label is not None, "label", label, "name the class to paint")
        return self.inpaint(image, region, label, **how)

    # fmt: off
    @overload
    def vary(
        self, image: Single, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: PIL = "pil", **how: Any,
    ) -> Images: ...
    @overload
    def vary(
        self, image: Single, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: PT, **how: Any,
    ) -> Tensor: ...
    @overload
    def vary(
        self, image: Single, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: NP, **how: Any,
    ) -> Array: ...
    @overload
    def vary(
        self, image: Several, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: PIL = "pil", **how: Any,
    ) -> list[Images]: ...
    @overload
    def vary(
        self, image: Several, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: PT, **how: Any,
    ) -> list[Tensor]: ...
    @overload
    def vary(
        self, image: Several, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: NP, **how: Any,
    ) -> list[Array]: ...
    @overload
    def vary(
        self, image: ImagesLike, strength: float = 0.5, labels: Labels = None, variants: int = 1,
        mask: Masks = None, *, output_type: OutputType = "pil", **how: Any,
    ) -> Edited: ...
    # fmt: on
    def vary(
        self,
        image: ImagesLike,
        strength: float = 0.5,
        labels: Labels = None,
        variants: int = 1,
        mask: Masks = None,
        **how: Any,
    ) -> Edited:
        """Variations of images, or of their masked part: the codes are corrupted to noise level t =
        strength and denoised from there.

        Args:
            image, labels, variants, mask: As in :meth:`inpaint`; no mask is the whole image.
            strength: 0 is the reconstruction, 1 a new image (inside a mask: inpainting).
            how: As in :meth:`inpaint`.
        """
        return self.inpaint(image, mask, labels, variants, strength=strength, **how)

    # fmt: off
    @overload
    def interpolate(
        self, a: ImageLike, b: ImageLike, frames: int = 8, strength: float = 0.5, labels: Labels = None,
        mix: Mix = "vectors", *, output_type: PIL = "pil", **drawing: Any,
    ) -> Images: ...
    @overload
    def interpolate(
        self, a: ImageLike, b: ImageLike, frames: int = 8, strength: float = 0.5, labels: Labels = None,
        mix: Mix = "vectors", *, output_type: PT, **drawing: Any,
    ) -> Tensor: ...
    @overload
    def interpolate(
        self, a: ImageLike, b: ImageLike, frames: int = 8, strength: float = 0.5, labels: Labels = None,
        mix: Mix = "vectors", *, output_type: NP, **drawing: Any,
    ) -> Array: ...
    @overload
    def interpolate(
        self, a: ImageLike, b: ImageLike, frames: int = 8, strength: float = 0.5, labels: Labels = None,
        mix: Mix = "vectors", *, output_type: OutputType = "pil", **drawing: Any,
    ) -> Delivered: ...
    # fmt: on
    def interpolate(
        self,
        a: ImageLike,
        b: ImageLike,
        frames: int = 8,
        strength: float = 0.5,
        labels: Labels = None,
        mix: Mix = "vectors",
        output_type: OutputType = "pil",
        **drawing: Any,
    ) -> Delivered:
        """Images from a to b at the model's size; see :mod:`~d3pm_image.editing.interpolate`.

        Args:
            frames: How many, the two ends included.
            strength: Noise level that codes are corrupted to and denoised from. 0 mixes codes alone: its ends
                are the reconstructions.
            labels: Class of all frames, or a list with that of a and of b: a frame has that of the nearer
                one.
            mix: ``vectors`` fades, ``cells`` takes cell after cell from b.
            output_type, drawing: As in :meth:`generate`, with one seed that all frames share.
        """
        check_output(output_type)
        ids = self.label_ids([None] if labels is None else labels, 2)
        images = to_pil(
            interpolate(
                self,
                self.request(**drawing),
                self.tensors([a, b]),
                scalar(frames),
                scalar(strength),
                ids,
                mix,
            )
        )
        return delivered(images, output_type, self.tokenizer.channels)
