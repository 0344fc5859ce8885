"""The public face: a trained tokenizer, denoiser and process in one object, and one self-contained folder.

Images go in and come out as Pillow images. A seed and an image's number decide its randomness, so image i is the
same in a batch of any size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from .bundle import Bundle, read_bundle, write_bundle
from .config import ProcessConfig, SamplerConfig, need
from .denoiser import Transformer
from .diffusion import Process
from .editing.canvas import convert_for
from .editing.inputs import Masks, Pictures, Results, gather
from .editing.interpolate import Mix, interpolate
from .editing.outpaint import extend, outpaint_window
from .editing.regions import Window
from .editing.repaint import Brush, repaint
from .imaging import to_pil, to_tensor
from .labels import Labels, label_ids
from .sampling import Request, Watch, sample
from .tokenizer import Autoencoder, Pixels


class Pipeline:
    """Generate and edit pictures with a trained model.

    Args:
        tokenizer: Images ↔ codes.
        denoiser: Network over the tokenizer's codes.
        process: Process settings that the denoiser was trained with.
        image_size: (height, width) in pixels of the training images.
        class_names: Names of the classes, empty for an unconditional model.
        sampler: Default sampler settings.
        facts: Whatever was remembered of the training (data, command, scores), JSON values.
    """

    def __init__(
        self,
        tokenizer: Autoencoder | Pixels,
        denoiser: Transformer,
        process: ProcessConfig,
        image_size: tuple[int, int],
        class_names: Sequence[str] = (),
        sampler: SamplerConfig | None = None,
        facts: dict[str, Any] | None = None,
    ):
        need(
            denoiser.num_codes == tokenizer.num_codes,
            "denoiser",
            denoiser.num_codes,
            f"predicts another number of codes than the tokenizer's {tokenizer.num_codes}",
        )
        self.tokenizer, self.denoiser = tokenizer.eval(), denoiser.eval()
        self.process_config, self.process = process, Process.from_config(process, tokenizer.num_codes)
        self.image_size, self.class_names = image_size, tuple(class_names)
        self.sampler, self.facts = sampler or SamplerConfig(), facts or {}
        self.grid, self.no_label = tokenizer.grid(image_size), denoiser.num_classes
        self.precision = "float32"

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.denoiser.parameters()).device

    def to(self, device: str | torch.device) -> Pipeline:
        """Move both networks to a device; returns self."""
        self.tokenizer.to(device)
        self.denoiser.to(device)
        return self

    def compile(self, **options: Any) -> Pipeline:
        """Compile the denoiser with torch.compile, in place and for batches of any size; ``options`` as torch.compile takes them, such as
        ``mode``. The first network call takes as long as compiling. Returns self."""
        self.denoiser.compile(**{"dynamic": True, **options})
        return self

    @classmethod
    def from_pretrained(cls, folder: str | Path, device: str | torch.device = "cpu", precision: str = "float32") -> Pipeline:
        """Load a folder written by :meth:`save_pretrained`, or the run folder of a finished training.

        Args:
            folder, device: Where the model is, and where it shall run.
            precision: float32, or bf16 to run the denoiser under autocast (faster, other samples under the same seed).

        Raises:
            ConfigError: no model there, or a part of it is missing or damaged.
        """
        need(precision in ("float32", "bf16"), "precision", precision, "use float32 or bf16")
        pipe = cls(**vars(read_bundle(folder)))
        pipe.precision = precision
        return pipe.to(device)

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write everything that is needed to generate into one folder, without pickle. An older model there is
        replaced as a whole, once the new one is complete."""
        return write_bundle(
            Bundle(self.tokenizer, self.denoiser, self.process_config, self.image_size, self.class_names, self.sampler, self.facts), folder
        )

    def predict(self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: tuple[int, int], where: Tensor | None = None) -> Tensor:
        """Logits (B, N, K) float32 by the denoiser in the chosen precision; arguments as in :class:`~d3pm_image.contracts.Denoiser`.

        Args:
            where: (B, N) bool, the positions that are wanted: the head runs at these alone, and logits elsewhere are 0. Default all.
        """
        with torch.autocast(x_t.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            if where is None or bool(where.all()):
                return self.denoiser(x_t, kappa, labels, grid).float()
            features = self.denoiser(x_t, kappa, labels, grid, head=False)
            wanted = self.denoiser.head(features[where]).float()
        logits = wanted.new_zeros(*x_t.shape, wanted.shape[-1])
        logits[where] = wanted
        return logits

    def label_ids(self, labels: Labels, count: int) -> list[int]:
        """Class numbers of ``count`` images; see :func:`d3pm_image.labels.label_ids`."""
        return label_ids(labels, count, self.class_names)

    def settings(self, **changes: Any) -> SamplerConfig:
        """The model's default sampler with the given (not None) changes.

        Raises:
            ConfigError: an impossible value. TypeError: no such setting.
        """
        return dataclasses.replace(self.sampler, **{k: v for k, v in changes.items() if v is not None})

    def request(
        self,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        batch_size: int = 64,
        first: int = 0,
        watch: Watch | None = None,
        **sampler: Any,
    ) -> Request:
        """How codes are to be drawn; every method below takes these arguments.

        Args:
            steps, sampler: Sampler settings that differ from the model's defaults (:class:`~d3pm_image.config.SamplerConfig`).
            seed: Image i under a seed is the same whatever the number of images or the batch size. A list gives every image a seed of
                its own: it is then the image that the seed gives as number 0.
            batch_size: Images in one network call.
            first: Number of the first image: a long request can be made in parts.
            watch: Called with a :class:`~d3pm_image.sampling.Frame` before the first step of every batch and after each, such as a
                :class:`~d3pm_image.trajectory.Recorder`.
        """
        return Request(self.settings(steps=steps, **sampler), seed, batch_size, first, watch)

    def generate(self, num_images: int = 1, labels: Labels = None, steps: int | None = None, **drawing: Any) -> list[Image.Image]:
        """New images.

        Args:
            num_images: How many.
            labels: See :meth:`label_ids`.
            steps, drawing: As in :meth:`request`: seed, batch_size, first, watch and sampler settings (``sampler``, ``temperature``,
                ``guidance``, ``gumbel``, ``reveal``, …).

        Returns:
            Pillow images in mode L or RGB.
        """
        return to_pil(self.tokenizer_decode(self.generate_codes(num_images, labels, steps, **drawing), drawing.get("batch_size", 64)))

    def generate_codes(self, num_images: int, labels: Labels = None, steps: int | None = None, **drawing: Any) -> Tensor:
        """Codes (num_images, H, W) of new images; arguments as in :meth:`generate`."""
        need(num_images >= 1, "num_images", num_images, "ask for at least 1 image")
        request = self.request(steps, **drawing)
        request.check(num_images)
        ids = torch.tensor(self.label_ids(labels, request.first + num_images)[request.first :], device=self.device)
        pieces = []
        for part in request.batches(num_images):
            streams = request.streams(part, self.device)
            label = ids[part.start : part.stop]
            pieces.append(sample(self.predict, self.process, request.config, label, self.no_label, self.grid, streams, watch=request.watch))
        return torch.cat(pieces).view(num_images, *self.grid)

    def tokenizer_decode(self, codes: Tensor, batch_size: int = 64) -> Tensor:
        """Images (B, C, h, w) in [0, 1] of codes (B, H, W), in batches."""
        return torch.cat([self.tokenizer.decode(part.to(self.device)).cpu() for part in codes.split(batch_size)])

    def tensors(self, images: Sequence[Image.Image]) -> Tensor:
        """Pictures of any size and mode as (B, C, h, w) in [0, 1], in the model's mode and at its size."""
        return torch.stack([to_tensor(convert_for(i, self.tokenizer.channels, self.image_size)) for i in images]).to(self.device)

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Images through the tokenizer and back, at the model's size."""
        return to_pil(self.tokenizer.decode(self.tokenizer.encode(self.tensors(images))))

    def inpaint(
        self,
        image: Pictures,
        mask: Masks,
        labels: Labels = None,
        variants: int = 1,
        ring: int | None = None,
        window: Window = "auto",
        feather: int = 0,
        strength: float = 1.0,
        **drawing: Any,
    ) -> Results:
        """Repaint the masked part of pictures; every pixel outside the mask comes back exactly as it was.

        Hidden pixels are replaced by a continuation of the known ones before encoding, so that nothing of them reaches the result.

        Args:
            image: A picture, or several of any sizes and modes.
            mask: What to repaint (:func:`~d3pm_image.editing.masks.as_mask`), one for all pictures or a list with one for each.
            labels: Class of what to paint (number or name), one for all or one a picture; None for no class.
            variants: Results a picture.
            ring: Code cells around the mask that are drawn anew as well; None is as many as the feather needs.
            window: What of a picture is worked on: ``whole`` of it at the model's size; the mask's neighbourhood, reduced to that size
                if need be (``crop``) or at its own scale (``tiles``); ``auto``: crop where a picture is larger than the model's size.
            feather: Pixels around the mask over which the result fades into the picture, inside drawn cells; 0 is a hard seam.
            strength: Under 1 starts from what is there, see :meth:`vary`.
            drawing: As in :meth:`request`; variant j of picture i is number i·variants + j.

        Returns:
            ``variants`` pictures for one picture, or a list of such lists, in the input's size and mode.

        Raises:
            ConfigError: a mask that does not fit, unknown labels, impossible settings.
        """
        images, masks = gather(image, mask)
        ids = self.label_ids([None] if labels is None else labels, len(images))
        results = repaint(self, self.request(**drawing), Brush(window, ring, feather, strength), images, masks, ids, variants)
        return results[0] if isinstance(image, Image.Image) else results

    def outpaint(
        self, image: Pictures, left: int = 0, top: int = 0, right: int = 0, bottom: int = 0, window: Window = "auto", **how: Any
    ) -> Results:
        """Continue pictures by so many pixels beyond their borders; the rest as in :meth:`inpaint`, of the larger canvas.

        ``window="auto"`` keeps a picture's own scale (``tiles``) where its canvas is larger than the model's size.
        """
        images, masks = zip(*(extend(i, left, top, right, bottom) for i in gather(image, None)[0]), strict=True)
        window = outpaint_window(window, [mask.shape for mask in masks], self.image_size)
        results = self.inpaint(images, masks, window=window, **how)
        return results[0] if isinstance(image, Image.Image) else results

    def edit(self, image: Pictures, region: Masks, label: Labels, **how: Any) -> Results:
        """Repaint a region of pictures as another class: :meth:`inpaint`, whose arguments hold, with a label that must be given.

        With ``strength`` under 1 the layout of what is there shows through.
        """
        need(label is not None, "label", label, "name the class that the region shall show")
        return self.inpaint(image, region, label, **how)

    def vary(self, image: Pictures, strength: float = 0.5, labels: Labels = None, variants: int = 1, mask: Masks = None, **how: Any) -> Results:  # fmt: skip
        """Variations of pictures, or of their masked part: the codes are corrupted to noise level t = strength and denoised from there.

        Args:
            image, labels, variants, mask: As in :meth:`inpaint`; no mask is the whole picture.
            strength: 0 is the reconstruction, 1 a new picture (inside a mask: inpainting).
            how: As in :meth:`inpaint`.
        """
        return self.inpaint(image, mask, labels, variants, strength=strength, **how)

    def interpolate(
        self,
        a: Image.Image,
        b: Image.Image,
        frames: int = 8,
        strength: float = 0.5,
        labels: Labels = None,
        mix: Mix = "vectors",
        **drawing: Any,
    ) -> list[Image.Image]:
        """Pictures from a to b at the model's size; see :mod:`~d3pm_image.editing.interpolate`.

        Args:
            frames: How many, the two ends included.
            strength: Noise level that codes are corrupted to and denoised from. 0 mixes codes alone: its ends are the reconstructions.
            labels: Class of all frames, or a list with that of a and of b: a frame has that of the nearer one.
            mix: ``vectors`` fades, ``cells`` takes cell after cell from b.
            drawing: As in :meth:`request`, with one seed that all frames share.
        """
        ids = self.label_ids([None] if labels is None else labels, 2)
        return to_pil(interpolate(self, self.request(**drawing), self.tensors([a, b]), frames, strength, ids, mix))
