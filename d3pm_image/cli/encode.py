"""``d3pm-image encode``: images → cached codes, by one process or many, and a tokenizer without the codes that the images do not use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from ..config import DataConfig, need, pixel_levels
from ..printable import printable
from .parsing import parse


@dataclass(frozen=True, kw_only=True)
class Encode:
    """Write the code cache that train-diffusion reads, which it would write itself: worth a command of its own for large sets, on many processes (torchrun scripts/encode.py …), and after a kill, when it goes on with what is missing.

    Args:
        tokenizer: Tokenizer folder, or the run that trained it, or pixels:L.
        data: Images; size and channels are the tokenizer's own.
        cache: Folder for cached codes. Default: ~/.cache/d3pm_image/codes.
        drop_unused: Folder for a second tokenizer that has only the codes that the images use, with caches in its numbers, so that the diffusion model has no more codes to tell apart than it need. Empty for none.
    """

    tokenizer: str
    data: DataConfig = field(default_factory=DataConfig)
    cache: str = ""
    drop_unused: str = ""

    def __post_init__(self):
        need(not self.drop_unused or not Path(self.drop_unused).exists(), "drop_unused", self.drop_unused, "is there already; name another")
        mend = "has no codebook to drop codes from: its codes are pixels; leave drop_unused out"
        need(not self.drop_unused or not pixel_levels(self.tokenizer), "tokenizer", self.tokenizer, mend)


def main(arguments: list[str]) -> None:
    """Read the options of ``d3pm-image encode`` and run it. Raises ConfigError for wrong input."""
    run(parse("encode", Encode, arguments))


def run(args: Encode) -> None:
    """Encode training and held-out images.

    Raises:
        ConfigError: wrong input, or a cache that cannot be written.
    """
    from ..config import TrainConfig
    from ..data.codes import CodeSet, Team
    from ..recipes.images import open_images
    from ..recipes.token_cache import cached, code_images, open_tokenizer, tokenizer_data
    from ..training.loop import make_accelerator

    accelerator = make_accelerator(TrainConfig(batch_size=1024 * 1024))
    tokenizer, info = open_tokenizer(args)
    tokenizer.to(accelerator.device)
    data = tokenizer_data(args.data, info)
    with accelerator.main_process_first():
        data, *opened = open_images(data)
        sources = [code_images(data, held_out, source) for held_out, source in zip((False, True), opened, strict=True)]
    team = Team(accelerator.process_index, accelerator.num_processes, accelerator.wait_for_everyone)
    places = [cached(images, tokenizer, info.sha256, args.cache, team) for images in sources]
    if accelerator.is_main_process:
        for name, place in zip(("training", "held-out"), places, strict=True):
            codes = CodeSet(place)
            print(f"{name}: {len(codes)} images as {codes.grid[0]}x{codes.grid[1]} codes in {printable(place, 0)}")
    if args.drop_unused:
        small = smaller(args, tokenizer, info, places[0], accelerator)
        for images in sources:
            cached(images, small[0].to(accelerator.device), small[1].sha256, args.cache, team)
    accelerator.end_training()


def smaller(args: Encode, tokenizer, info, place: Path, accelerator):
    """The tokenizer with the codes that a cache uses, saved by the main process and loaded by all."""
    import numpy as np

    from ..data.code_files import CodeFiles
    from ..tokenizer import load_tokenizer, save_tokenizer
    from ..tokenizer.codebook_pruning import keep_codes

    if accelerator.is_main_process:
        used = np.zeros(tokenizer.num_codes, bool)
        for block in CodeFiles(place).blocks():
            used[np.unique(block)] = True
        kept = np.flatnonzero(used).tolist()
        facts = {**info.facts, "data": info.facts.get("data", dataclasses.asdict(args.data.resolved())), "kept_codes": kept}
        save_tokenizer(keep_codes(tokenizer, kept), Path(args.drop_unused), info.image_size, facts)
        print(f"{len(kept)} of {tokenizer.num_codes} codes are used: {printable(args.drop_unused, 0)}")
    accelerator.wait_for_everyone()
    return load_tokenizer(args.drop_unused)
