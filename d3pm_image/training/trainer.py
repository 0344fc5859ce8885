"""One run in memory: networks, optimizers, averaged weights and progress, saved and restored together."""

from __future__ import annotations

import contextlib
import copy
import math
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..compiler import compile_network
from ..config import ConfigError, TrainConfig
from ..config.training import GRAPHS
from ..recompute import recompute_blocks
from . import checkpoint as ckpt
from . import sharding
from .discriminator_step import DiscriminatorStep
from .ema import Skipped, make_average
from .optim import Optimizers, learning_rate, make_optimizers
from .random import StepRandom
from .skipping import Tally, count, settle
from .task import Interrupted, Progress, TrainingError, TrainTask

__all__ = ["Interrupted", "Progress", "TrainTask", "Trainer", "TrainingError"]


EXPLODED = 1000.0
"""A loss this many times that of the first step (or 1) shows divergence; healthy runs never come near it."""


def put(buffers: list[Tensor], values: list[Tensor]) -> None:
    """Copy values into buffers."""
    with torch.no_grad():
        for buffer, value in zip(buffers, values, strict=True):
            buffer.copy_(value)


class Trainer:
    """One run: state that is saved and restored together, and its training steps."""

    def __init__(self, task: TrainTask, config: TrainConfig, folder: Path, accelerator: Accelerator):
        self.task, self.config, self.folder, self.accelerator = task, config, folder, accelerator
        self.main = accelerator.is_main_process
        if not config.fsdp:
            task.model.to(accelerator.device)
        if config.recompute:
            recompute_blocks(task.model)
        self.average = make_average(task.model, config.ema)  # before prepare(), which wraps forward
        if config.compile not in (False, "auto"):
            compile_network(task.model, **({"mode": GRAPHS} if config.compile == GRAPHS else {}))
        if config.fsdp:
            # validation needs no other process
            self.copy = copy.deepcopy(task.model) if self.main else task.model
            for network in [task.model] if self.average is None else [task.model, self.average.module]:
                sharding.shard(network, accelerator.device)
        made = make_optimizers(task.model, config)
        # no wrapper of its own where it is sharded
        self.model = accelerator.prepare_model(task.model, evaluation_mode=config.fsdp)
        prepared = [accelerator.prepare_optimizer(o) for o, _ in made.members]
        self.optimizers = Optimizers(
            [(o, factor) for o, (_, factor) in zip(prepared, made.members, strict=True)]
        )
        self.discriminator = (
            DiscriminatorStep(task.discriminator, config, accelerator)
            if task.discriminator is not None
            else None
        )
        self.progress = Progress()
        self.due = False
        """Whether a checkpoint of the present weights is written as soon as a loss shows that they are
        good."""
        self.doubted: Path | None = None
        """The checkpoint that the run was resumed from, until a loss shows that it is good."""
        self.tally = Tally.of(config, accelerator)
        self.saved_step, self.has_good, self.loss = 0, False, torch.zeros(())

    def evaluated(self, raw: bool = False) -> nn.Module:
        """The network that is validated, previewed and exported, in eval mode: averaged weights if there are
        any, else the last ones.

        A sharded network is gathered, for which all processes must call, into a copy that the main process
        alone may use.
        """
        network = self.task.model if raw or self.average is None else self.average.module
        if self.config.fsdp:
            weights = sharding.gathered(network.state_dict(), self.main)
            network = self.copy
            if self.main:
                network.load_state_dict(weights)
                network.to(self.accelerator.device)
        return network.eval()

    def _agree(self) -> None:
        """Check that all processes have the same buffers (the codebook); parameters stay equal by their
        gradients, buffers do not."""
        if self.accelerator.num_processes == 1:
            return
        networks = (
            [self.task.model]
            if self.task.discriminator is None
            else [self.task.model, self.task.discriminator.model]
        )
        sums = [b.double().sum() for n in networks for b in n.buffers()] or [
            torch.zeros((), dtype=torch.float64)
        ]
        everywhere = self.accelerator.gather(torch.stack([s.to(self.accelerator.device) for s in sums])[None])
        if not bool((everywhere == everywhere[:1]).all()):
            raise TrainingError(
                f"buffers differ between processes at step {self.progress.step}; build the quantizer after"
                " the Accelerator, with synchronize"
            )

    def save(self, proven: bool = True, spare: int = 0) -> None:
        """Write a checkpoint (main process) and wait for it (all).

        Args:
            proven: A loss was computed with these weights.
            spare: Checkpoints kept beyond ``train.keep``.
        """
        settle(self)
        self._agree()
        exploded = self.exploded(self.loss)
        if self.main or self.config.fsdp:
            tensors = {"model": sharding.gathered(self.task.model.state_dict(), self.main), "optimizer": {}}
            for number, (optimizer, _) in enumerate(self.optimizers.members):
                tensors["optimizer"] |= sharding.gathered(
                    ckpt.optimizer_tensors(optimizer, f"{number}."), self.main
                )
            if self.average is not None:
                tensors["ema"] = sharding.gathered(self.average.state_dict(), self.main)
        if self.main:
            if self.discriminator is not None:
                tensors |= self.discriminator.tensors()
            scaler = self.accelerator.scaler
            self.progress.scaler = scaler.state_dict() if scaler is not None else {}
            known = {
                **vars(self.progress),
                "identity": self.task.identity,
                "proven": proven,
                "exploded": exploded,
            }
            ckpt.save_checkpoint(self.checkpoints, self.progress.step, tensors, known)
            ckpt.prune(self.checkpoints, self.config.keep + spare, self.progress.step)
        self.due, self.saved_step, self.has_good = False, self.progress.step, self.has_good or not exploded
        self.accelerator.wait_for_everyone()

    @property
    def checkpoints(self) -> Path:
        """Their folder."""
        return self.folder / "checkpoints"

    def _save_due(self, buffers: list[Tensor], before: list[Tensor]) -> None:
        """Write the checkpoint that is due, in the middle of a step whose loss was finite: only buffers have
        changed. Not if the loss shows divergence, unless there is no better checkpoint.
        """
        if self.exploded(self.loss) and self.has_good:
            return
        now = [b.detach().clone() for b in buffers]
        put(buffers, before)
        self.save()
        put(buffers, now)

    def exploded(self, loss: Tensor) -> bool:
        """Whether a loss, the mean over all processes, is far above that of the first step."""
        loss = loss.detach().double().to(self.accelerator.device)
        several = self.accelerator.num_processes > 1
        mean = float(self.accelerator.reduce(loss, "mean") if several else loss)
        self.progress.reference = self.progress.reference or max(1.0, abs(mean))
        return not mean <= EXPLODED * self.progress.reference

    def good_checkpoints(self) -> list[Path]:
        """Checkpoints on disk that this run can be resumed from, oldest first."""
        places = [p for p in ckpt.checkpoints(self.checkpoints) if p != self.doubted]
        return [p for p in places if not ckpt.read_state(p).get("exploded")]

    def save_last(self) -> None:
        """Write the checkpoint at the end of a run, unless its last steps were skipped, or its loss shows
        divergence and there is a better one."""
        settle(self)
        if not self.progress.skipped_in_a_row and not (self.exploded(self.loss) and self.has_good):
            self.save(proven=False)

    def save_interrupted(self) -> bool:
        """Write a checkpoint before the end; False, and nothing written, while a run diverges. No other
        checkpoint is removed for it."""
        if self.progress.step == self.saved_step:
            return self.progress.step > 0
        settle(self)
        if self.progress.skipped_in_a_row or self.exploded(self.loss):
            return False
        self.save(proven=False, spare=1)
        return True

    def safe(self) -> str:
        """Sentence on the checkpoint from which a diverged run can be resumed."""
        good = self.good_checkpoints()
        places = good or [p for p in ckpt.checkpoints(self.checkpoints) if p != self.doubted]
        if not places:
            return "no checkpoint had been written yet"
        text = f"the last good checkpoint is {places[-1]}"
        return text if good else f"{text}, though its loss had already risen: a new run may do better"

    def restore(self) -> bool:
        """Load the last checkpoint that is complete and undamaged; False if there is none."""
        for place in reversed(ckpt.checkpoints(self.folder / "checkpoints")):
            try:
                tensors, state = ckpt.load_checkpoint(place)
                if self.task.check_identity is not None:
                    self.task.check_identity(state.get("identity", {}), self.folder)
                sharding.load(self.task.model, tensors["model"])
                if self.average is not None:
                    sharding.load(self.average, tensors["ema"])
                for number, (optimizer, _) in enumerate(self.optimizers.members):
                    ckpt.load_optimizer(optimizer, tensors["optimizer"], f"{number}.")
                if self.discriminator is not None:
                    self.discriminator.restore(tensors, state["step"])
            except ckpt.CheckpointError as error:
                if self.main:
                    print(f"skipping a damaged checkpoint: {error}", file=sys.stderr)
                continue
            except ConfigError:
                raise
            except (RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
                raise ConfigError(
                    "resume",
                    str(place),
                    f"the checkpoint does not fit the configuration ({str(error).splitlines()[0]}); keep the"
                    " network as it was or choose another --out",
                ) from error
            known = {k: v for k, v in state.items() if k in vars(Progress())}
            # earlier versions never compiled by themselves
            self.progress = Progress(**{"considered": True, **known})
            self.saved_step, self.has_good = self.progress.step, not state.get("exploded")
            self.doubted = None if state.get("proven", True) else place
            if self.tally is not None:
                self.tally.start_from(self.progress)
            self._know_best()
            if self.accelerator.scaler is not None and self.progress.scaler:
                self.accelerator.scaler.load_state_dict(self.progress.scaler)
            return True
        return False

    @property
    def compiled(self) -> bool:
        """Whether the network runs compiled."""
        auto = self.config.compile == "auto" and not self.config.fsdp
        return self.config.compile in (True, GRAPHS) or (auto and self.progress.compiled)

    def _know_best(self) -> None:
        """Drop best weights of a later step than the checkpoint's, from a run that was stopped or diverged
        after it."""
        try:
            with safe_open(self.folder / "best" / "model.safetensors", "pt") as file:
                step = (file.metadata() or {}).get("step")
        except (OSError, SafetensorError):
            step = None
        if step != str(self.progress.best_step):
            self.progress.best, self.progress.best_step = math.inf, -1

    def together(self) -> None:
        """Check that all processes resume from the same step: on several machines the run's folder must be on
        a shared disk."""
        if self.accelerator.num_processes > 1:
            own = torch.tensor([self.progress.step], device=self.accelerator.device)
            steps = self.accelerator.gather(own)
            if not bool((steps == steps[0]).all()):
                raise TrainingError(
                    f"processes found different checkpoints (steps {steps.tolist()}); put --out on a disk"
                    " that all share"
                )

    def step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """One optimizer step on this process's share of the batch; returns means to log (still on the
        device). A step whose loss or gradient is not finite changes nothing.

        Raises:
            TrainingError: too many such steps in a row.
        """
        config, step = self.config, self.progress.step
        self.optimizers.set_learning_rate(learning_rate(step, config))
        discriminator = self.discriminator
        if discriminator is not None and step < discriminator.task.start_step:
            discriminator = None
        networks = [self.task.model] if discriminator is None else [self.task.model, discriminator.task.model]
        # the codebook, for example, changes in the forward pass
        buffers = [b for network in networks for b in network.buffers()]
        before = [b.detach().clone() for b in buffers]
        self.model.train()
        # without synchronisation, except at the first step and before a checkpoint
        tally = None if discriminator or self.due or not self.progress.reference else self.tally
        if tally is None:
            settle(self)
        logs, bad = self._gradients(batch, discriminator, tally)
        self.loss = logs["loss"]
        if tally is not None:
            self._move_unless(tally, buffers, before)
            self.progress.step += 1
            return logs
        if bad:
            if config.fsdp:
                sharding.drop_gathered(self.task.model)
            put(buffers, before)
        else:
            if not self.progress.reference:
                self.exploded(self.loss)
            self.doubted = None
            if self.due:
                self._save_due(buffers, before)
            self.optimizers.step()
            if self.average is not None:
                self.average.update_parameters(self.task.model)
        self.optimizers.zero_grad()
        if discriminator is not None:
            discriminator.step(step, bool(bad))
        count(self, bad)
        self.progress.step += 1
        return logs

    def _move_unless(self, tally: Tally, buffers: list[Tensor], before: list[Tensor]) -> None:
        """Update everything by its gradients, or nothing if the device found that the step is not finite."""
        bad = tally.bad
        self.optimizers.step(bad)
        with torch.no_grad():
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(torch.where(bad > 0, value, buffer))
        if self.average is not None:
            earlier = tally.counts[0] - self.progress.skipped - bad.long()
            self.average.update_parameters(self.task.model, Skipped(bad, earlier))
        self.optimizers.zero_grad()

    def _gradients(
        self, batch: dict[str, Tensor], discriminator: DiscriminatorStep | None, tally: Tally | None = None
    ) -> tuple[dict[str, Tensor], str]:
        """Gradients of the whole step, part by part; means to log, and what was not finite, such as
        "loss=nan", or nothing. With a tally the device records that, without synchronisation."""
        config, device = self.config, self.accelerator.device
        share = config.batch_size // self.accelerator.num_processes
        part, first = share // config.accumulate, self.accelerator.process_index * share
        logs: dict[str, Tensor] = {}
        if tally is not None:
            tally.begin()
        for number in range(config.accumulate):
            rows = slice(number * part, (number + 1) * part)
            piece = {k: v[rows].to(device, non_blocking=True) for k, v in batch.items()}
            drawn = slice(first + rows.start, first + rows.stop)
            random = StepRandom(config.seed, self.progress.step, config.batch_size, drawn, device)
            last = number == config.accumulate - 1
            if config.fsdp:
                sharding.exchange(self.task.model, last)
            with contextlib.nullcontext() if last or config.fsdp else self.accelerator.no_sync(self.model):
                if config.compile == GRAPHS:
                    torch.compiler.cudagraph_mark_step_begin()
                loss, values, *kept = self.task.loss(self.model, piece, random)
                bad = f"loss={float(loss.detach()):g}" if self._not_finite(loss, tally) else ""
                if not bad:
                    self.accelerator.backward(loss / config.accumulate)
            if discriminator is not None and not bad:
                against, more = discriminator.backward(kept[0], random, last)
                bad = f"discriminator loss={float(against.detach()):g}" if self._not_finite(against) else ""
                values = {**values, **more}
            for name, value in {"loss": loss, **values}.items():
                logs[name] = logs.get(name, 0) + value.detach().float() / config.accumulate
            if bad:
                return logs, bad
        if config.clip:
            norm = self.accelerator.clip_grad_norm_(self.model.parameters(), config.clip)
            logs["grad_norm"] = sharding.whole(norm)
            # fp16 skips such steps by itself
            if config.mixed_precision != "fp16" and self._not_finite(logs["grad_norm"], tally):
                return logs, f"grad_norm={float(logs['grad_norm']):g}"
        if tally is not None:
            tally.end()
        return logs, ""

    def _not_finite(self, value: Tensor, tally: Tally | None = None) -> bool:
        """Whether any process has a NaN or infinity; all get the same answer. A tally records it for
        later."""
        if tally is not None:
            tally.see(value)
            return False
        bad = (~torch.isfinite(value.detach())).float()
        return bool((self.accelerator.reduce(bad, "sum") if self.accelerator.num_processes > 1 else bad) > 0)
