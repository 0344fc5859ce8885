"""Settings and data that a resumed run must share with its beginning, so that it ends with the weights of an
uninterrupted run.

Every setting that the weights depend on must stay the same. Not compared (:data:`FREE`): paths, what is
logged and kept, and how the same numbers are computed. Allowed with a note (:data:`NOTED`): what messages of
the program advise to change, such as the learning rate. Images are the same by their contents
(:mod:`~d3pm_image.data.identity`); ``--data.same true`` accepts others. Checkpoints of versions that recorded
fewer settings are compared in what they recorded.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..config import ConfigError, DiffusionRun, ProcessConfig, TokenizerRun, check, migrated, size_pair
from ..devices import pick_device, pick_mixed_precision, pick_precision
from ..documents import Unreadable, read_yaml
from ..system.threads import chosen_outside, counted, fitting_threads, own_processors
from .settings import leaves

if TYPE_CHECKING:
    from ..data.identity import Identity

R = TypeVar("R", TokenizerRun, DiffusionRun)
FREE = {
    *("out", "resume", "start_from", "cache", "tokenizer", "sampler", "sampling"),
    *(
        f"data.{name}"
        for name in ("root", "val_root", "download", "workers", "max_unreadable", "memory_mb", "same")
    ),
    *(
        f"train.{name}"
        for name in (
            "accumulate",
            "compile",
            "recompute",
            "fsdp",
            "max_skips",
            "log_every",
            "preview_every",
            "checkpoint_every",
            "keep",
        )
    ),
}
"""Settings, or groups of them, without influence on the weights. The tokenizer of a diffusion model may be in
another folder: its hash is compared."""
NOTED = {
    *(
        f"train.{name}"
        for name in (
            "steps",
            "patience",
            "learning_rate",
            "muon_rate",
            "muon_precision",
            "warmup_steps",
            "final_rate",
            "mixed_precision",
            "threads",
            "tf32",
        )
    ),
    "loss.adversarial",
}
"""Settings, or groups, that change the weights and may be changed when resuming."""
BY_DATA = {"data.source", "data.name", "data.limit", "data.val_share", "data.labels", "data.held_out"}
"""Settings that select images: these are compared themselves."""


def settings_of(config: TokenizerRun | DiffusionRun) -> dict[str, Any]:
    """Every setting that may matter by dotted name, as JSON values."""
    found = leaves(dataclasses.asdict(config))
    found = {
        name: value
        for name, value in found.items()
        if name not in FREE and name.partition(".")[0] not in FREE - {"tokenizer"}
    }
    found["data.image_size"] = list(size_pair(config.data.image_size))
    found["data.held_out"] = "val_root" if config.data.val_root else "val_share"
    return found


@dataclass(frozen=True)
class Images:
    """One set of a run's images.

    Args:
        key: What the run's weights depend on: digest of the images, or key of their codes.
        also: Keys under which other versions recorded the same.
        identity: Digests of the source.
    """

    key: str
    also: tuple[str, ...]
    identity: Identity

    def saved(self) -> dict[str, str]:
        """What a checkpoint holds of it."""
        return {"key": self.key, "fingerprint": self.identity.fingerprint, "files": self.identity.files}


BEFORE = {
    "loss.set_dropout": 0.1,
    "data.tile": "none",
    "process.kernel": "uniform",
    "process.neighbours": ProcessConfig().neighbours,
    "denoiser.known_share": 0.0,
    "tokenizer.context": 0,
    "train.muon_precision": "bf16",
}
"""Meaning of checkpoints without settings that came later. ``tokenizer.upsampling`` is none of these: a run's
configuration tells (:func:`settled`)."""


@dataclass(frozen=True)
class RunIdentity:
    """Identity of a run.

    Args:
        config: All settings, those of the data as they are used.
        parts: What earlier versions recorded, by name; ``tokenizer`` is the hash of a diffusion model's
            tokenizer.
        data: Training images.
        held_out: Images that select the best weights.
    """

    config: TokenizerRun | DiffusionRun
    parts: dict[str, Any]
    data: Images
    held_out: Images

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds of it, JSON values."""
        images = {"data": self.data.saved(), "held_out": self.held_out.saved()}
        return {**self.parts, "data": self.data.key, "settings": settings_of(self.config), "images": images}

    def check(self, saved: dict[str, Any], folder: Path) -> None:
        """Compare with what a checkpoint holds.

        Raises:
            ConfigError: it belongs to a run with other settings or other images.
        """
        saved = of_today(saved)
        self._check_settings(saved["settings"], folder)
        self._check_parts(saved, folder)
        if not self.config.data.same:
            self._check_images("data", self.data, saved, folder)
            if "images" in saved:
                self._check_images("held_out", self.held_out, saved, folder)

    def _check_settings(self, before: dict[str, Any], folder: Path) -> None:
        noted = []
        for name, now in settings_of(self.config).items():
            was = before.get(name, BEFORE.get(name, now))
            if was == now or name in BY_DATA:
                continue
            if name in NOTED or name.rpartition(".")[0] in NOTED:
                noted.append(f"{name} {now!r} (begun with {was!r})")
                continue
            raise ConfigError(
                name,
                now,
                f"the run in {folder} was begun with {was!r}; restore that, or choose another --out",
            )
        if noted and os.environ.get("RANK", "0") == "0":
            print(
                f"note: going on with {', '.join(noted)}: the weights will not be those of a run that was not"
                " changed",
                file=sys.stderr,
            )

    def _check_parts(self, saved: dict[str, Any], folder: Path) -> None:
        before = leaves({name: value for name, value in saved.items() if name in self.parts})
        for name, now in leaves(self.parts).items():
            was = before.get(name, BEFORE.get(name, now))
            if was == now:
                continue
            if name == "tokenizer":
                hint = (
                    f"gives other codes than the tokenizer that the run in {folder} was begun with; name that"
                    " one, or choose another --out"
                )
                raise ConfigError(name, self.config.tokenizer, hint)
            raise ConfigError(
                name,
                now,
                f"the run in {folder} was begun with {was!r}; restore that, or choose another --out",
            )

    def _check_images(self, name: str, now: Images, saved: dict[str, Any], folder: Path) -> None:
        before = saved["images"][name] if "images" in saved else {"key": saved.get("data", now.key)}
        if before["key"] in (now.key, *now.also):
            return
        data = self.config.data
        was = saved.get("settings", {})
        changed = [
            f"{n} was {was[n]!r} and is {v!r}"
            for n, v in settings_of(self.config).items()
            if n in BY_DATA and was.get(n, v) != v
        ]
        if changed:
            why = ", ".join(changed)
        elif "files" not in before:
            why = (
                "that version noted names, sizes and times of the files, and one of these differs; in a copy"
                " with other times the contents may be the same"
            )
        elif before["files"] != now.identity.files:
            why = "files were added, removed or renamed, or have other sizes"
        elif now.identity.contents:
            why = "the files have the same names and sizes, but other contents"
        else:
            why = (
                "the files have the same names and sizes but other times, and are too many to compare their"
                " contents, which may be the same"
            )
        field, place = (
            ("data", data.root) if name == "data" or not data.val_root else ("data.val_root", data.val_root)
        )
        hint = (
            f"restore {'that' if changed else 'them'}, go on with these by --data.same true, or choose"
            " another --out"
        )
        raise ConfigError(
            field,
            place or data.source,
            f"other images than the run in {folder} was begun with: {why}; {hint}",
        )


def of_today(saved: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint holds of a run, with the tokenizer's settings as this version names them."""
    settings = saved.get("settings", {})
    own = {
        name.removeprefix("tokenizer."): value
        for name, value in settings.items()
        if name.startswith("tokenizer.")
    }
    others = {name: value for name, value in settings.items() if not name.startswith("tokenizer.")}
    found = {**saved, "settings": others | leaves(migrated(own), "tokenizer.")}
    return found | (
        {"tokenizer": migrated(saved["tokenizer"])} if isinstance(saved.get("tokenizer"), dict) else {}
    )


def resolved(config: Any) -> Any:
    """The configuration to write into a run's folder, without options for this start only."""
    return dataclasses.replace(config, resume=False, data=dataclasses.replace(config.data, same=False))


def settled(config: R) -> R:
    """The settings of a run, with precisions and threads as this machine chooses them where they are not
    given. A resumed run keeps its first choice; for threads, only if the machine has as many processors and
    the environment does not set them. One that recorded no upsampling keeps what there was then."""
    held, began = None, Path(config.out).expanduser() / "config.yaml"
    if config.resume and began.is_file():
        with contextlib.suppress(Unreadable):
            held = read_yaml(began)
    if isinstance(config, TokenizerRun) and isinstance(held, dict):
        began_with = held.get("tokenizer")
        if isinstance(began_with, dict) and "upsampling" not in began_with:
            former = dataclasses.replace(config.tokenizer, upsampling="shuffle")
            config = dataclasses.replace(config, tokenizer=former)
    before = held.get("train") if isinstance(held, dict) else None
    before = before if isinstance(before, dict) else {}
    train = config.train
    if train.mixed_precision == "auto":
        recorded = before.get("mixed_precision")
        precision = pick_mixed_precision(recorded if recorded in ("no", "bf16", "fp16") else "auto")
        train = dataclasses.replace(train, mixed_precision=precision)
    if train.muon_precision == "auto":
        # a run that recorded none was begun when there was bf16 alone
        recorded = before.get("muon_precision", "bf16" if before else "auto")
        known = recorded if recorded in ("bf16", "float32") else "auto"
        train = dataclasses.replace(train, muon_precision=pick_precision(known, pick_device("auto")))
    if train.threads == 0:
        recorded, (threads, why) = before.get("threads"), fitting_threads()
        able = isinstance(recorded, int) and 0 < recorded <= len(own_processors())
        if isinstance(recorded, int) and able and not chosen_outside() and recorded != threads:
            threads, why = recorded, f"{counted(recorded)}, as the run began with"
        if why and os.environ.get("RANK", "0") == "0":
            print(f"note: {why} (train.threads)", file=sys.stderr)
        train = dataclasses.replace(train, threads=threads)
    return dataclasses.replace(config, train=train)


def need_resume(config: TokenizerRun | DiffusionRun) -> None:
    """Raises ConfigError if other images are accepted for a run that is not resumed."""
    hint = "is for resuming a run: add --resume true, or leave it out"
    check(config.resume or not config.data.same, "data.same", True, hint)
