"""Networks too large for one device: each process keeps a part of every parameter, gradient, moment and
average (Zhao et al. 2023, FSDP).

torch's ``fully_shard`` gathers the parameters of a block when it is computed and drops them after; the
results are those of data parallelism. Parameters are then DTensors. Everything that leaves a process
(checkpoints, validations, the exported model) is gathered first, so that files are those of a run without
sharding, and either kind of run resumes from the other's checkpoints.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule
    from torch.distributed.tensor import DTensor


def shard(network: nn.Module, device: torch.device) -> None:
    """Split the parameters of a network over all processes, in place and before its optimizer is made, with
    one unit per entry of ``network.blocks``."""
    from torch.distributed.fsdp import fully_shard  # importing takes a second, so only where it is used

    mesh = torch.distributed.init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for block in cast("nn.ModuleList", network.blocks):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    network.to(device)  # what is left: buffers


def is_split(value: Tensor) -> TypeGuard[DTensor]:
    """Whether it is a DTensor."""
    return hasattr(value, "full_tensor")


def whole(value: Tensor) -> Tensor:
    """A whole tensor from the parts of all processes, which must all call; a plain tensor is returned as it
    is."""
    return value.full_tensor() if is_split(value) else value


def placed(value: Tensor, like: Tensor) -> Tensor:
    """Split a whole tensor, the same on all processes, like ``like``, in its memory order (fused optimizers
    process parameters and moments in memory order). A tensor of another shape is returned as it is."""
    if like.shape != value.shape:
        return value
    if not is_split(like):
        return torch.empty_like(like, dtype=value.dtype).copy_(value)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def gathered(tensors: Mapping[str, Tensor], keep: bool) -> dict[str, Tensor]:
    """Whole tensors by name, on the CPU if they were split. All processes must call; those that do not
    ``keep`` get nothing."""
    found = {}
    for name, value in tensors.items():
        tensor = whole(value)
        if keep:
            found[name] = tensor.cpu() if is_split(value) else tensor
    return found


def load(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` from whole tensors, into a network that is split or not."""
    own = network.state_dict()
    network.load_state_dict(
        {name: placed(value, own[name]) if name in own else value for name, value in tensors.items()}
    )


def exchange(network: nn.Module, now: bool) -> None:
    """Set whether the next backward passes add up gradients over processes."""
    cast("FSDPModule", network).set_requires_gradient_sync(now)  # shard() changed its class


def drop_gathered(network: nn.Module) -> None:
    """Free parameters that a forward pass without a backward pass gathered."""
    for module in network.modules():
        reshard = getattr(module, "reshard", None)
        if reshard is not None:
            reshard()
