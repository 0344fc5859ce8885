"""A trained tokenizer, denoiser and process in one object, saved as one self-contained folder.

Images go in and come out as Pillow images. A seed and an image's number decide its randomness, so image i is
the same in a batch of any size.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast, overload

import torch
from torch import Tensor

from .bundle import Bundle, read_bundle, write_bundle
from .compiler import compile_network
from .config import ProcessConfig, SamplingConfig, Tile, check
from .config.running import RunOptions
from .data.levels import remembered_white
from .denoiser import Transformer
from .denoiser.precision import logits_of, undisturbed
from .devices import Precision, check_precision, pick_device, pick_precision
from .diffusion import Process
from .editing.canvas import convert_for
from .editing.inputs import ImagesLike, image_list
from .hub import push
from .imaging import Images, to_pil, to_tensor, with_white
from .keywords import (
    NP,
    PIL,
    PT,
    Array,
    Delivered,
    ImageOutput,
    OutputType,
    check_output,
    delivered,
    plain_labels,
    request_of,
)
from .label_sets import LabelSets, counted, sets_of
from .labels import Labels, label_ids
from .pixel_range import straight
from .sampling import Sampler
from .sampling.loop import draw_codes
from .sampling.request import Request, default_sampler
from .sampling.state import whole_number
from .system.allocator import keep_memory
from .tiling import Tiling
from .tokenizer.autoencoder import Autoencoder
from .tokenizer.palette import Palette, read_palette
from .tokenizer.quantizer import code_vectors
from .types import Tokenizer

PRECISIONS: dict[torch.dtype, Precision] = {torch.float32: "float32", torch.bfloat16: "bf16"}


def load_pipeline(options: RunOptions, model: str | Path) -> Pipeline:
    """The model on the device and in the precision of the options, compiled if they ask for it.

    Raises:
        ConfigError: no such model or device.
    """
    pipe = Pipeline.from_pretrained(model, pick_device(options.device), options.precision)
    return pipe.compile() if options.compile else pipe


class Pipeline(Tiling):
    """Generate and edit images with a trained model.

    Args:
        tokenizer: Images ↔ codes.
        denoiser: Network over the tokenizer's codes.
        process: Process settings that the denoiser was trained with.
        image_size: (height, width) in pixels of the training images.
        class_names: Names of the classes, empty for an unconditional model.
        sampler: Default sampler.
        sampling: Default settings that all samplers share.
        metadata: Facts about the training (data, command, scores), JSON values.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        denoiser: Transformer,
        process: ProcessConfig,
        image_size: tuple[int, int],
        class_names: Sequence[str] = (),
        sampler: Sampler | None = None,
        sampling: SamplingConfig | None = None,
        metadata: dict[str, Any] | None = None,
    ):
        hint = f"predicts another number of codes than the tokenizer's {tokenizer.num_codes}"
        check(denoiser.num_codes == tokenizer.num_codes, "denoiser", denoiser.num_codes, hint)
        own = getattr(tokenizer, "tile", denoiser.tile)  # pixels as codes repeat as the denoiser says
        hint = f"is of images that repeat along {denoiser.tile}, and the tokenizer along {own}"
        check(own == denoiser.tile, "denoiser", denoiser.tile, hint)
        self.tokenizer, self.denoiser = tokenizer.eval(), denoiser.eval()
        vectors = partial(code_vectors, tokenizer)
        self.process_config = process
        self.process = Process.from_config(process, tokenizer.num_codes, vectors)
        self.image_size = image_size
        self.class_names = class_names if isinstance(class_names, tuple) else tuple(class_names)
        self.sampler, self.sampling = sampler or default_sampler(), sampling or SamplingConfig()
        self.metadata = metadata or {}
        self.grid, self.no_label = tokenizer.grid(image_size), denoiser.num_classes
        self.precision: Precision = "float32"
        self.by_device, self.progress_bar, self.recoloured = False, False, False
        keep_memory()  # else each step of a sampler pays for fresh pages, as long as the network itself takes

    def __repr__(self) -> str:
        height, width = self.image_size
        size = f"{width}x{height}, {self.grid[1]}x{self.grid[0]} codes of {self.tokenizer.num_codes}"
        drawn = f"{self.sampler.name}, {self.sampling.steps} steps"
        classes = counted(self.class_names) or "no classes"
        return f"Pipeline({size}, {classes}, {drawn}, {self.precision} on {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.denoiser.parameters()).device

    @property
    def repeats(self) -> Tile:
        """Axes along which the images of the model repeat without a seam: none, x, y or both."""
        return self.denoiser.tile

    @property
    def token_levels(self) -> bool:
        """Whether the denoiser is told which tokens are known, see :class:`~d3pm_image.types.Denoiser`."""
        return bool(getattr(self.denoiser, "token_levels", False))

    @property
    def label_sets(self) -> LabelSets | None:
        """Names and labels of the sets, where an image has a label of each of several sets; else None."""
        return sets_of(self.class_names)

    def to(
        self, device: str | torch.device | torch.dtype | None = None, dtype: torch.dtype | None = None
    ) -> Pipeline:
        """Move both networks to a device; choose torch.float32, or torch.bfloat16 to run denoiser and decoder
        under autocast; returns self. A model loaded in precision ``auto`` chooses again for the device."""
        if isinstance(device, torch.dtype):
            device, dtype = None, device
        check(dtype in (None, *PRECISIONS), "dtype", dtype, "use torch.float32 or torch.bfloat16")
        if dtype is not None:
            self.precision, self.by_device = PRECISIONS[dtype], False
        if device is not None:
            self.tokenizer.to(device)
            self.denoiser.to(device)
        if self.by_device:
            self.precision = pick_precision("auto", self.device)
        if isinstance(self.tokenizer, Autoencoder):
            self.tokenizer.precision = self.precision
        return self

    def recolour(self, palette: str | Path) -> Pipeline:
        """Show a palette model's codes in other colours from now on; returns self.

        Args:
            palette: File with as many colours, see :func:`~d3pm_image.tokenizer.palette.read_palette`.

        Raises:
            ConfigError: another model, or another number of colours.
        """
        hint = "replaces the colours of a palette model (--tokenizer palette:…), which this is not"
        check(isinstance(self.tokenizer, Palette), "palette", str(palette), hint)
        colours = read_palette(palette, repeats=True)
        self.tokenizer = cast("Palette", self.tokenizer).recoloured(colours).eval()
        self.recoloured = True
        return self

    def enable_progress_bar(self, enabled: bool = True) -> Pipeline:
        """Show, or no longer show, the steps of every batch on a progress bar; returns self."""
        self.progress_bar = enabled
        return self

    def push_to_hub(
        self,
        repository: str,
        private: bool = False,
        half: bool = False,
        files: dict[str, str | bytes] | None = None,
    ) -> str:
        """Upload the model as OWNER/NAME of the Hugging Face hub, which is created if needed; ``half`` and
        ``files`` as in :func:`~d3pm_image.bundle.write_bundle`. Needs a login; ``d3pm-image package --push``
        adds a model card. Returns its address."""
        with TemporaryDirectory() as folder:
            return push(self.save_pretrained(Path(folder) / "model", half, files), repository, private)

    def compile(self, **options: Any) -> Pipeline:
        """Compile the denoiser with torch.compile, in place and for batches of any size; ``options`` as
        torch.compile takes them, such as ``mode``. The first network call takes as long as compiling. Returns
        self."""
        compile_network(self.denoiser, **{"dynamic": True, **options})
        return self

    @classmethod
    def from_pretrained(
        cls, folder: str | Path, device: str | torch.device = "cpu", precision: str = "auto"
    ) -> Pipeline:
        """Load a model.

        Args:
            folder: A folder written by :meth:`save_pretrained`, the run folder of a training (of an
                unfinished run the best weights so far, with a note), the name of a model that came with the
                package (fashion-mnist, …) or a hub id (OWNER/NAME); see :func:`~d3pm_image.hub.locate`.
            device: Where to run it.
            precision: float32, bf16 (denoiser and decoder under autocast: other samples under the same
                seed), or auto, see :func:`~d3pm_image.devices.pick_precision`.

        Raises:
            ConfigError: no model there, a part of it is missing or damaged, or an unknown precision.
        """
        check_precision(precision)
        with undisturbed():
            bundle = read_bundle(folder)
        pipe = cls(**vars(bundle))
        pipe.by_device = precision == "auto"
        return pipe.to(device, torch.bfloat16 if precision == "bf16" else None)

    def save_pretrained(
        self, folder: str | Path, half: bool = False, files: dict[str, str | bytes] | None = None
    ) -> Path:
        """Write everything that is needed to generate into one folder, without pickle. An older model there
        is replaced once the new one is complete, and other files stay; ``half`` and ``files`` as in
        :func:`~d3pm_image.bundle.write_bundle`."""
        hint = "follows the colours of the training, which are gone: load the model again to save it"
        kernel = self.process_config.kernel
        check(not self.recoloured or kernel == "uniform", "process.kernel", kernel, hint)
        parts = (
            self.tokenizer,
            self.denoiser,
            self.process_config,
            self.image_size,
            self.class_names,
            self.sampler,
            self.sampling,
            self.metadata,
        )
        return write_bundle(Bundle(*parts), folder, half, files)

    def predict(
        self, x_t: Tensor, kappa: Tensor, labels: Tensor, grid: tuple[int, int], where: Tensor | None = None
    ) -> Tensor:
        """Logits (B, N, K) float32 in the chosen precision; arguments as in
        :func:`~d3pm_image.denoiser.precision.logits_of`."""
        return logits_of(self.denoiser, self.precision == "bf16", x_t, kappa, labels, grid, where)

    def label_ids(self, labels: Labels, count: int, first: int = 0) -> list[int]:
        """Class numbers of ``count`` images; see :func:`d3pm_image.labels.label_ids`."""
        return label_ids(plain_labels(labels), count, self.class_names, first)

    def request(self, **drawing: Any) -> Request:
        """A checked request to draw codes. Every method below takes these arguments
        (:class:`~d3pm_image.keywords.GenerationOptions`), and the settings of the sampler.

        Raises:
            ConfigError: an impossible value, or a setting that the sampler does not have. TypeError: no such
                argument.
        """
        return request_of(self, drawing)

    # fmt: off
    @overload
    def __call__(
        self, class_labels: Labels = None, num_images: int | None = None, *,
        output_type: PIL = "pil", **drawing: Any,
    ) -> ImageOutput[Images]: ...
    @overload
    def __call__(
        self, class_labels: Labels = None, num_images: int | None = None, *,
        output_type: PT, **drawing: Any,
    ) -> ImageOutput[Tensor]: ...
    @overload
    def __call__(
        self, class_labels: Labels = None, num_images: int | None = None, *,
        output_type: NP, **drawing: Any,
    ) -> ImageOutput[Array]: ...
    @overload
    def __call__(
        self, class_labels: Labels = None, num_images: int | None = None, *,
        output_type: OutputType = "pil", **drawing: Any,
    ) -> ImageOutput[Delivered]: ...
    # fmt: on
    def __call__(
        self,
        class_labels: Labels = None,
        num_images: int | None = None,
        output_type: OutputType = "pil",
        **drawing: Any,
    ) -> ImageOutput[Delivered]:
        """:meth:`generate` under the names of diffusers: ``pipe(class_labels=[3, 5],
        num_inference_steps=16).images``.

        Args:
            class_labels: Classes, see :meth:`label_ids`. num_images: Default: one per listed label, else 1.
        """
        class_labels = plain_labels(class_labels)
        listed = (
            len(class_labels)
            if isinstance(class_labels, Sequence) and not isinstance(class_labels, str)
            else 1
        )
        return ImageOutput(
            self.generate(num_images or listed, class_labels, output_type=output_type, **drawing)
        )

    # fmt: off
    @overload
    def generate(
        self, num_images: int = 1, labels: Labels = None, steps: int | None = None, *,
        output_type: PIL = "pil", **drawing: Any,
    ) -> Images: ...
    @overload
    def generate(
        self, num_images: int = 1, labels: Labels = None, steps: int | None = None, *,
        output_type: PT, **drawing: Any,
    ) -> Tensor: ...
    @overload
    def generate(
        self, num_images: int = 1, labels: Labels = None, steps: int | None = None, *,
        output_type: NP, **drawing: Any,
    ) -> Array: ...
    @overload
    def generate(
        self, num_images: int = 1, labels: Labels = None, steps: int | None = None, *,
        output_type: OutputType = "pil", **drawing: Any,
    ) -> Delivered: ...
    # fmt: on
    def generate(
        self,
        num_images: int = 1,
        labels: Labels = None,
        steps: int | None = None,
        output_type: OutputType = "pil",
        **drawing: Any,
    ) -> Delivered:
        """New images.

        Args:
            num_images: How many.
            labels: See :meth:`label_ids`.
            steps, drawing: See :class:`~d3pm_image.keywords.GenerationOptions`: seed, batch_size, sampler,
                guidance, temperature, ….
            output_type: ``pil``, ``pt`` or ``np``.

        Returns:
            Pillow images in mode L, LA, RGB or RGBA (P of a palette model), or a float32 tensor (B, C, h, w)
            or array (B, h, w, C) in [0, 1], with straight colour where they have alpha.
        """
        check_output(output_type)
        codes = self.generate_codes(num_images, labels, steps, **drawing)
        if isinstance(self.tokenizer, Palette) and output_type == "pil":
            return Images(self.tokenizer.indexed(codes))
        images = self.tokenizer_decode(codes, int(drawing.get("batch_size") or 64))
        return (
            straight(images.clamp(0, 1))
            if output_type == "pt"
            else delivered(to_pil(images), output_type, self.tokenizer.channels)
        )

    def generate_codes(
        self, num_images: int, labels: Labels = None, steps: int | None = None, **drawing: Any
    ) -> Tensor:
        """Codes (num_images, H, W) of new images; arguments as in :meth:`generate`."""
        num_images = whole_number("num_images", num_images)
        check(num_images >= 1, "num_images", num_images, "ask for at least 1 image")
        request = self.request(steps=steps, **drawing)
        request.check_count(num_images)
        ids = torch.tensor(self.label_ids(labels, num_images, request.first), device=self.device)
        return draw_codes(self.predict, self.process, request, ids, self.no_label, self.grid).view(
            num_images, *self.grid
        )

    def tokenizer_decode(self, codes: Tensor, batch_size: int = 64) -> Tensor:
        """Images (B, C, h, w) in [0, 1] of codes (B, H, W), in batches."""
        parts = (part.to(self.device) for part in codes.split(batch_size))
        return torch.cat([self.tokenizer.decode(part).cpu() for part in parts])

    def tensors(self, images: ImagesLike) -> Tensor:
        """Images of any size and mode (:func:`~d3pm_image.editing.inputs.image_list`) as (B, C, h, w) in [0,
        1], in the model's mode and at its size."""
        fitting = [
            convert_for(
                with_white(i, remembered_white(self.metadata)), self.tokenizer.channels, self.image_size
            )
            for i in image_list(images)[0]
        ]
        return torch.stack([to_tensor(image) for image in fitting]).to(self.device)

    def reconstruct(self, images: ImagesLike) -> Images:
        """Images through the tokenizer and back, at the model's size."""
        codes = self.tokenizer.encode(self.tensors(images))
        if isinstance(self.tokenizer, Palette):
            return Images(self.tokenizer.indexed(codes))
        return to_pil(self.tokenizer.decode(codes))
