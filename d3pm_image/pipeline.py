"""The public face: a trained tokenizer, denoiser and process in one object, and one self-contained folder.

Images go in and come out as Pillow images. A seed and an image's number decide its randomness, so image i is the
same in a batch of any size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .bundle import Bundle, read_bundle, write_bundle
from .config import ProcessConfig, SamplerConfig, need
from .denoiser import Transformer
from .diffusion import Process
from .editing.canvas import completed, convert_for, hidden_free
from .imaging import hidden_cells, to_pil, to_tensor
from .labels import Labels, label_ids
from .sampling import ImageStreams, sample
from .sampling.loop import Watch
from .tokenizer import Autoencoder, Pixels


class Pipeline:
    """Generate and inpaint with a trained model.

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
        self.grid = tokenizer.grid(image_size)
        self.precision = "float32"

    @property
    def device(self) -> torch.device:
        return next(self.denoiser.parameters()).device

    def to(self, device: str | torch.device) -> Pipeline:
        """Move both networks to a device; returns self."""
        self.tokenizer.to(device)
        self.denoiser.to(device)
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

    def generate(
        self,
        num_images: int = 1,
        labels: Labels = None,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        batch_size: int = 64,
        first: int = 0,
        watch: Watch | None = None,
        **sampler: Any,
    ) -> list[Image.Image]:
        """New images.

        Args:
            num_images: How many.
            labels: See :meth:`label_ids`.
            steps, sampler: Sampler settings that differ from the model's defaults (``sampler``, ``temperature``,
                ``guidance``, ``gumbel``, ``reveal``).
            seed: Image i under a seed is the same whatever the number of images or the batch size. A list gives every image
                a seed of its own: it is then the image that the seed gives as number 0.
            batch_size: Images in one network call.
            first: Number of the first image: a long request can be made in parts.
            watch: Called with a :class:`~d3pm_image.sampling.Frame` before the first step of every batch and after each,
                such as a :class:`~d3pm_image.trajectory.Recorder`.

        Returns:
            Pillow images in mode L or RGB.
        """
        codes = self.generate_codes(num_images, labels, steps, seed, batch_size, first, watch, **sampler)
        return to_pil(self.tokenizer_decode(codes, batch_size))

    @torch.no_grad()
    def generate_codes(
        self,
        num_images: int,
        labels: Labels = None,
        steps: int | None = None,
        seed: int | Sequence[int] = 0,
        batch_size: int = 64,
        first: int = 0,
        watch: Watch | None = None,
        **sampler: Any,
    ) -> Tensor:
        """Codes (num_images, H, W) of new images; arguments as in :meth:`generate`."""
        need(num_images >= 1, "num_images", num_images, "ask for at least 1 image")
        need(batch_size >= 1, "batch_size", batch_size, "use at least 1")
        seeds = [seed] if isinstance(seed, int) else list(seed)
        need(min(seeds, default=-1) >= 0, "seed", seed, "give 0 or more")
        need(isinstance(seed, int) or len(seeds) == num_images, "seed", seed, f"give one seed, or one for each of the {num_images} images")
        need(first >= 0, "first", first, "give 0 or more")
        config = self.settings(steps=steps, **sampler)
        ids = torch.tensor(self.label_ids(labels, first + num_images)[first:], device=self.device)
        pieces = []
        for start in range(0, num_images, batch_size):
            part = ids[start : start + batch_size]
            numbers = range(first + start, first + start + len(part))
            streams = ImageStreams(seed if isinstance(seed, int) else seeds[start : start + len(part)], numbers, self.device)
            pieces.append(sample(self.predict, self.process, config, part, self.denoiser.num_classes, self.grid, streams, watch=watch))
        return torch.cat(pieces).view(num_images, *self.grid)

    def tokenizer_decode(self, codes: Tensor, batch_size: int = 64) -> Tensor:
        """Images (B, C, h, w) in [0, 1] of codes (B, H, W), in batches."""
        return torch.cat([self.tokenizer.decode(part.to(self.device)).cpu() for part in codes.split(batch_size)])

    def reconstruct(self, images: Sequence[Image.Image]) -> list[Image.Image]:
        """Images through the tokenizer and back, at the model's size."""
        batch = torch.stack([to_tensor(convert_for(image, self.tokenizer.channels, self.image_size)) for image in images])
        return to_pil(self.tokenizer.decode(self.tokenizer.encode(batch.to(self.device))))

    @torch.no_grad()
    def inpaint(
        self,
        image: Image.Image | Sequence[Image.Image],
        mask: Image.Image | np.ndarray | Sequence[Image.Image | np.ndarray],
        labels: Labels = None,
        variants: int = 1,
        ring: int = 0,
        steps: int | None = None,
        seed: int = 0,
        batch_size: int = 64,
        watch: Watch | None = None,
        **sampler: Any,
    ) -> list[Image.Image] | list[list[Image.Image]]:
        """Repaint the masked part of pictures; every pixel outside the mask comes back exactly as it was.

        Hidden pixels are replaced by a continuation of the known ones before encoding. Pictures of another size are
        worked on at the model's size and pasted back at their own.

        Args:
            image: A picture, or several of any sizes.
            mask: White (128 and over, or True) = repaint; one a picture, of its size.
            labels: Class of what to paint (number or name), one for all or one a picture; None for no class.
            variants: Results a picture.
            ring: Code cells around the mask that are drawn anew as well (their pixels are still pasted back).
            steps, seed, batch_size, watch, sampler: As in :meth:`generate`; variant j of picture i is number i·variants + j.

        Returns:
            ``variants`` pictures for one picture, or a list of such lists, in the input's size and mode (palette and
            16-bit pictures come back as L or RGB).

        Raises:
            ConfigError: a mask of another size, unknown labels, impossible settings.
        """
        single = isinstance(image, Image.Image)
        images = [image] if isinstance(image, Image.Image) else list(image)
        masks = [mask] if single else list(mask)  # type: ignore[arg-type]
        need(len(images) == len(masks) and bool(images), "mask", len(masks), f"give one mask for each of the {len(images)} images")
        need(variants >= 1, "variants", variants, "ask for at least 1 variant")
        need(seed >= 0, "seed", seed, "give 0 or more")
        need(batch_size >= 1, "batch_size", batch_size, "use at least 1")
        need(ring >= 0, "ring", ring, "give 0 or more code cells")
        config = self.settings(steps=steps, **sampler)
        ids = self.label_ids([None] if labels is None else labels, len(images))
        prepared = [hidden_free(i, m, self.tokenizer.channels, self.image_size) for i, m in zip(images, masks, strict=True)]
        pixels = torch.stack([p.pixels for p in prepared]).to(self.device)
        hidden = torch.stack([p.hidden for p in prepared]).to(self.device)
        codes = self.tokenizer.encode(pixels).flatten(1)
        unknown = hidden_cells(hidden, self.tokenizer.downsampling, ring).flatten(1)
        number = torch.arange(len(images)).repeat_interleave(variants)
        painted = []
        for part in torch.arange(len(number)).split(batch_size):
            which = number[part].to(self.device)
            streams = ImageStreams(seed, part.tolist(), self.device)
            label = torch.tensor([ids[i] for i in number[part].tolist()], device=self.device)
            drawn = sample(
                self.predict,
                self.process,
                config,
                label,
                self.denoiser.num_classes,
                self.grid,
                streams,
                codes[which],
                unknown[which],
                watch,
            )
            painted.append(self.tokenizer.decode(drawn.view(-1, *self.grid)))
        results = [completed(prepared[int(i)], picture) for i, picture in zip(number, to_pil(torch.cat(painted)), strict=True)]
        grouped = [results[i * variants : (i + 1) * variants] for i in range(len(images))]
        return grouped[0] if single else grouped
