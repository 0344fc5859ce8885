"""The cost of a training step, counted on the real code without computing values.

Network, loss, backward pass and optimizer run once on fake tensors, which have shapes and types but no
memory: a counter adds up the operations of every matrix product and convolution, a hook records the tensors
that autograd keeps for the backward pass, and a mode follows the storages that are alive. So a network far
larger than this machine is counted in seconds, with the code that trains. Elementwise operations are not
counted, nor is the memory of libraries.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from ..config import DiffusionRun, TokenizerRun, TrainConfig
from ..denoiser.layers import rotary_table
from ..devices import pick_mixed_precision
from ..diffusion import fused  # noqa: F401  (registers the operation that is counted below)
from ..pixel_range import from_levels
from ..recipes.random_batches import diffusion_batch, tokenizer_batch
from ..recompute import recompute_blocks
from ..seeds import Share
from ..training.optim import make_optimizers
from ..training.random import StepRandom

Loss = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Costs:
    """One optimizer step of one process.

    Args:
        parameters: Number of trained values (without the codebook, which is a buffer).
        forward_flops, backward_flops, optimizer_flops: Floating-point operations of matrix products and
            convolutions, a multiply-add as 2; forward and backward of all accumulation parts.
        weights_bytes: Parameters and buffers.
        gradient_bytes, optimizer_bytes, ema_bytes: Beside them.
        activation_bytes: What autograd keeps between forward and backward pass of one accumulation part.
        peak_bytes: Largest sum of all that is alive at once, including the above and temporary tensors.
        checkpoint_bytes: Tensors of one checkpoint.
    """

    parameters: int
    forward_flops: int
    backward_flops: int
    optimizer_flops: int
    weights_bytes: int
    gradient_bytes: int
    optimizer_bytes: int
    ema_bytes: int
    activation_bytes: int
    peak_bytes: int
    checkpoint_bytes: int

    @property
    def flops(self) -> int:
        """Operations of a whole step."""
        return self.forward_flops + self.backward_flops + self.optimizer_flops


@contextlib.contextmanager
def imagined() -> Iterator[None]:
    """Tensors made inside have a shape and a dtype but no memory and no values. They must not be used
    outside, so caches of layers are cleared."""
    rotary_table.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            yield
    finally:
        rotary_table.cache_clear()


class LiveBytes(TorchDispatchMode):
    """Follows the storages of tensors that operations return; ``peak`` is the largest number of bytes alive
    at once."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.alive: dict[int, weakref.ref] = {}

    def add(self, tensor: Tensor) -> None:
        """Count a tensor's storage, once, for as long as it lives."""
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self.alive:
            return

        def gone(_: object) -> None:
            self.now -= size
            del self.alive[key]

        self.alive[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor):
                self.add(leaf)
        return out


def fused_flops(hidden: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Head and loss in one operation: the head's product and both its gradients, for all tokens (an absorbing
    process leaves unmasked ones out)."""
    return 6 * hidden[0] * hidden[1] * weight[0]


def size(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors' own elements."""
    return sum(t.numel() * t.element_size() for t in tensors)


def kept_by_autograd(model: nn.Module) -> tuple[dict[int, int], Callable[[Tensor], Tensor]]:
    """Bytes of every storage that a hook is shown, but those of the model; and that hook."""
    kept: dict[int, int] = {}
    own = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    return kept, keep


def passes(
    model: nn.Module,
    loss: Loss,
    keep: Callable[[Tensor], Tensor],
    half: bool,
    counter: FlopCounterMode,
    *watches: contextlib.AbstractContextManager[Any],
) -> tuple[int, int]:
    """Operations of the forward pass, and of both, under ``watches``; ``keep`` sees what autograd keeps."""
    with contextlib.ExitStack() as stack:
        for watch in watches:
            stack.enter_context(watch)
        with (
            saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=half),
        ):
            value = loss(model)
        forward = counter.get_total_flops()
        value.backward()
        return forward, counter.get_total_flops()


def count(model: nn.Module, loss: Loss, train: TrainConfig) -> Costs:
    """Costs of a step of ``model`` under ``loss``, the scalar of one accumulation part. Call it inside
    :func:`imagined` to spend nothing; on real tensors it takes a real step and gives the same figures.

    The model's weights are those of training: gradients are made, and the optimizer of ``train`` moves it
    once.
    """
    if train.recompute:
        recompute_blocks(model)
    kept, keep = kept_by_autograd(model)
    optimizers, live = make_optimizers(model, train), LiveBytes()
    for tensor in (*model.parameters(), *model.buffers()):
        live.add(tensor)
    model.train()
    # the counter does not see inside own operations
    own_flops = {torch.ops.d3pm_image.fused_loss: fused_flops}
    counter = FlopCounterMode(display=False, custom_mapping=own_flops)

    run = partial(passes, model, loss, keep, pick_mixed_precision(train.mixed_precision) != "no", counter)
    if train.recompute:  # the counter keeps what a block computes again
        forward, both = run(counter)
        optimizers.zero_grad()
        kept.clear()
        run(live)
    else:
        forward, both = run(counter, live)
    with_gradients = live.peak
    with counter, live:
        optimizers.step()
        everything = both + counter.get_total_flops()
    parameters = [p for p in model.parameters() if p.requires_grad]
    states = [entry for optimizer, _ in optimizers.members for entry in optimizer.state.values()]
    moments = [value for entry in states for value in entry.values() if isinstance(value, Tensor)]
    stored, weights = (
        size(t) for t in (model.state_dict().values(), (*model.parameters(), *model.buffers()))
    )
    ema = weights if train.ema else 0
    return Costs(
        parameters=sum(p.numel() for p in parameters),
        forward_flops=forward * train.accumulate,
        backward_flops=(both - forward) * train.accumulate,
        optimizer_flops=everything - both,
        weights_bytes=weights,
        gradient_bytes=size(p.grad for p in parameters if p.grad is not None),
        optimizer_bytes=size(moments),
        ema_bytes=ema,
        activation_bytes=sum(kept.values()),
        # from the second step on, moments exist all the time
        peak_bytes=max(with_gradients + size(moments), live.peak) + ema,
        checkpoint_bytes=stored + size(moments) + (stored if train.ema else 0),
    )


def tokenizer_model(config: TokenizerRun) -> nn.Module:
    """The tokenizer as it is after its k-means start, whose work depends on the data; with a codebook of
    noise, and no codes revived."""
    from ..tokenizer import Autoencoder

    model = Autoencoder(config.tokenizer, config.data.channels, tile=config.data.tile)
    if not config.tokenizer.quantizer.kmeans_start:
        return model
    codebook = model.quantizer.vq._codebook
    codebook.initted = torch.ones_like(codebook.initted)
    with torch.no_grad():
        for name in ("embed", "embed_avg"):
            getattr(codebook, name).normal_()
        codebook.cluster_size.fill_(1.0)
    return model


def tokenizer_loss(config: TokenizerRun, images: int) -> Loss:
    """The objective of stage one on ``images`` random images (without the figures for the log, which depend
    on the codes drawn, and without a perceptual network or a discriminator)."""
    from ..tokenizer.loss import reconstruction_loss

    def loss(model: nn.Module) -> Tensor:
        originals = from_levels(tokenizer_batch(config, images)["images"])
        output, _, own = model(originals, Share(0, images, 0))
        return reconstruction_loss(output, originals, config.loss)[0] + own

    return loss


def diffusion_loss(
    config: DiffusionRun, num_codes: int, grid: tuple[int, int], classes: int, images: int
) -> Loss:
    """The objective of stage two on ``images`` random grids of codes."""
    from ..diffusion import Process
    from ..recipes.diffusion import make_loss

    process, known_share = Process.from_config(config.process, num_codes), config.denoiser.known_share
    objective = make_loss(process, config.loss, grid, known_share)

    def loss(model: nn.Module) -> Tensor:
        random = StepRandom(0, 0, images, slice(0, images), torch.device("cpu"))
        return objective(model, diffusion_batch(num_codes, grid, classes, images), random)[0]

    return loss
