"""Training that begins with a trained model (``--start-from``): its settings are the defaults, and its
weights the initial ones.

Settings that shape a network must be those of the model; all else may differ: images, sizes, losses, the
process. A diffusion model needs the codes that it was trained on, so its tokenizer must be the model's, or
one that differs only in the decoder (``--learn decoder``).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import ConfigError, DiffusionRun, TokenizerRun, check
from ..label_sets import sets_of
from ..pixel_range import has_alpha
from ..tokenizer.quantizers import QUANTIZERS
from .settings import leaves

if TYPE_CHECKING:
    from torch import Tensor

    from ..bundle import Bundle
    from ..denoiser import Transformer
    from ..tokenizer import Autoencoder
    from ..tokenizer.folder import TokenizerInfo
    from ..types import Tokenizer

LEARNING = {
    "dropout",
    "known_share",
    "upsampling",
    "context",
    *(item.name for kind in QUANTIZERS.values() for item in kind.own() if item.metadata.get("learning")),
}
"""Settings of a network that affect only learning, or have no weights: they may differ from the model's."""


def defaults(kind: type, model: str) -> dict[str, Any]:
    """Settings of a trained model by dotted name, as defaults of a run of stage one (TokenizerRun) or two
    (DiffusionRun).

    Raises:
        ConfigError: no such model, or one that a run of this kind cannot begin with.
    """
    if kind is TokenizerRun:
        network, info = trained_tokenizer(model)
        height, width = info.image_size
        size = height if height == width else [height, width]
        return {
            "data.image_size": size,
            "data.channels": info.channels,
            "data.tile": info.tile,
            **dotted("tokenizer", network.config),
        }
    assert kind is DiffusionRun
    bundle = trained_model(model)
    from ..sampling.choice import to_values

    groups = {"process": bundle.process, "denoiser": bundle.denoiser.config, "sampling": bundle.sampling}
    found = {name: value for group, config in groups.items() for name, value in dotted(group, config).items()}
    own = {"tokenizer": model, "sampler": to_values(bundle.sampler), "data.tile": bundle.denoiser.tile}
    return own | found


def dotted(group: str, config: Any) -> dict[str, Any]:
    """A frozen configuration's values, in a parser's form."""
    values = {item.name: getattr(config, item.name) for item in dataclasses.fields(config)}
    return {
        f"{group}.{name}": list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
    }


def trained_tokenizer(model: str) -> tuple[Autoencoder, TokenizerInfo]:
    """The tokenizer that a run begins with.

    Raises:
        ConfigError: none there, or pixels as codes, which learn nothing.
    """
    from ..tokenizer import Autoencoder, load_tokenizer

    with told_of(model):
        network, info = load_tokenizer(model)
    hint = "takes pixels as codes, which are not trained; leave it out"
    check(isinstance(network, Autoencoder), "start_from", model, hint)
    assert isinstance(network, Autoencoder)
    return network, info


def trained_model(model: str) -> Bundle:
    """The model that a run of stage two begins with. Raises ConfigError where there is none."""
    from ..bundle import read_bundle

    with told_of(model):
        return read_bundle(model)


@contextlib.contextmanager
def told_of(model: str) -> Iterator[None]:
    """Errors in reading a model name the option."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError("start_from", model, f"cannot be read: {error}") from error


def check_same(part: str, given: Any, found: Any, model: str) -> None:
    """Raises ConfigError, by name, where settings that shape a network differ from a trained model's."""
    asked = shape(given)
    for name, value in shape(found).items():  # the name of a quantizer before its own settings
        hint = f"start_from {model} has {value}; leave it out, or start_from"
        check(asked.get(name) == value, f"{part}.{name}", asked.get(name), hint)


def begin_tokenizer(network: Autoencoder, config: TokenizerRun) -> dict[str, Any]:
    """Load the weights that ``config.start_from`` names into a new tokenizer, in place; returns metadata
    about the source weights.

    Raises:
        ConfigError: no tokenizer there, or one of another shape.
    """
    source, info = trained_tokenizer(config.start_from)
    check_same("tokenizer", config.tokenizer, source.config, config.start_from)
    colours = f"start_from {config.start_from} has {info.channels}; leave it out, or start_from"
    if has_alpha(config.data.channels) and not has_alpha(info.channels):
        colours += ": alpha needs new weights, or those of a model that has it"
    check(config.data.channels == info.channels, "data.channels", config.data.channels, colours)
    hint = f"start_from {config.start_from} has {info.tile}; leave it out, or start_from"
    check(config.data.tile == info.tile, "data.tile", config.data.tile, hint)
    had, has = source.config.context, config.tokenizer.context
    hint = f"start_from {config.start_from} has {had}; leave it out, or start_from"
    check(has in (0, had) or not had, "tokenizer.context", has, hint)
    weights = {name: value for name, value in source.state_dict().items() if has or not is_context(name)}
    begun = {name: value for name, value in network.state_dict().items() if is_context(name)}
    network.load_state_dict(begun | weights)
    if config.learn != "all":
        network.fix_codes(fix_decoder=config.learn == "context")
    return remembered(config.start_from, info.metadata) | {"learnt": config.learn}


def is_context(name: str) -> bool:
    """Whether a weight is one of the context branch, which may be new."""
    return name.startswith("context.")


@dataclass(frozen=True)
class PretrainedModel:
    """A trained model that a run of stage two begins with.

    Args:
        name: As ``start_from`` gives it.
        bundle: The model.
    """

    name: str
    bundle: Bundle

    @classmethod
    def of(cls, config: DiffusionRun, tokenizer: Tokenizer) -> PretrainedModel | None:
        """The model that a run begins with, checked against its settings; None for new weights.

        Raises:
            ConfigError: no model there, or one of another shape or over other codes.
        """
        if not config.start_from:
            return None
        bundle = trained_model(config.start_from)
        hint = (
            f"gives other codes than the tokenizer of start_from {config.start_from}; leave it out, or"
            " start_from"
        )
        check(same_codes(tokenizer, bundle.tokenizer), "tokenizer", config.tokenizer, hint)
        check_same("denoiser", config.denoiser, bundle.denoiser.config, config.start_from)
        axes = getattr(tokenizer, "tile", config.data.tile)
        hint = f"start_from {config.start_from} has {bundle.denoiser.tile}; leave it out, or start_from"
        check(axes == bundle.denoiser.tile, "data.tile", axes, hint)
        return cls(config.start_from, bundle)

    def load_weights(self, network: Transformer, classes: Sequence[str]) -> int:
        """Load its weights into a new denoiser, in place, and match classes by name; returns how many classes
        matched.

        Other classes begin with the embedding of "no label".
        """

        weights = dict(self.bundle.denoiser.state_dict())
        known, old = weights.pop("classes.weight"), self.bundle.class_names
        embedded, matched = class_weights(known, old, classes)
        own = weights.pop("known_level.weight", None)
        if network.known_level is not None:  # a model without that input begins with its zeros
            weights["known_level.weight"] = network.known_level.weight if own is None else own
        network.load_state_dict(weights | {"classes.weight": embedded})
        return matched

    def remembered(self) -> dict[str, Any]:
        """Metadata about the model that training began with."""
        return remembered(self.name, self.bundle.metadata)


def class_weights(known: Tensor, old: Sequence[str], new: Sequence[str]) -> tuple[Tensor, int]:
    """Embeddings of classes, or of the labels of several sets, from those of a trained model.

    A label begins with the embedding of the label of the same name in the set of the same name (one set has
    no name, and takes the place of the only set that shares a label), any other with that of "no label".

    Args:
        known: Rows of the model's classes or labels, the row of none last in each set.
        old, new: Names of the classes, before and now.

    Returns:
        The rows, and how many labels have one of the same name.
    """
    import torch

    before, now = sets_by_name(old), sets_by_name(new)
    first, start = {}, 0
    for name, labels in before.items():
        first[name], start = start, start + len(labels) + 1
    rows, matched, used = [], 0, set[str]()
    for name, labels in now.items():
        free = [one for one in before if one not in used and one not in now]
        shared = [one for one in free if set(before[one]) & set(labels)]
        same = name if name in before else shared[0] if len(shared) == 1 else None
        if same is None:
            rows += [known.new_zeros(known.shape[1])] * (len(labels) + 1)
            continue
        used.add(same)
        none = first[same] + len(before[same])
        for label in labels:
            there = label in before[same]
            matched += there
            rows.append(known[first[same] + before[same].index(label) if there else none])
        rows.append(known[none])
    # what the sets that are gone gave to every image: their embedding of none
    gone = [known[first[name] + len(labels)] for name, labels in before.items() if name not in used]
    if gone:
        labels = next(iter(now.values()))
        for i in range(len(labels) + 1):
            rows[i] = rows[i] + torch.stack(gone).sum(0)
    return torch.stack(rows), matched


def sets_by_name(class_names: Sequence[str]) -> dict[str, list[str]]:
    """Labels of each set; one set has no name."""
    sets = sets_of(class_names)
    return {"": list(class_names)} if sets is None else sets.values()


def same_codes(one: Tokenizer, other: Tokenizer) -> bool:
    """Whether two tokenizers give every image the same codes: all but their decoders, with the context
    branches, is equal."""
    import torch

    if type(one) is not type(other):
        return False
    tiles = [getattr(tokenizer, "tile", "none") for tokenizer in (one, other)]
    if (
        one.channels != other.channels
        or tiles[0] != tiles[1]
        or not same_shape(getattr(one, "config", None), getattr(other, "config", None))
    ):
        return False
    mine, others = (
        {k: v for k, v in t.state_dict().items() if not (k.startswith("decoder.") or is_context(k))}
        for t in (one, other)
    )
    return mine.keys() == others.keys() and all(
        torch.equal(mine[name].cpu(), others[name].cpu()) for name in mine
    )


def same_shape(one: Any, other: Any) -> bool:
    """Whether two configurations describe the same network; None stands for pixels, which have no network."""
    return (one and shape(one)) == (other and shape(other))


def shape(config: Any) -> dict[str, Any]:
    """Settings of a network by dotted name, without those that affect only learning."""
    return {
        name: value
        for name, value in leaves(dataclasses.asdict(config)).items()
        if name.rpartition(".")[2] not in LEARNING
    }


def remembered(model: str, metadata: dict[str, Any]) -> dict[str, Any]:
    """A trained model's name, if it is not a folder of this machine, and its training data."""
    made = metadata.get("training", {})
    found = {
        "model": "" if Path(model).expanduser().exists() else model,
        "data": metadata.get("data", {}).get("source", ""),
    }
    found |= {name: made[name] for name in ("steps", "started_from") if name in made}
    return {name: value for name, value in found.items() if value}
