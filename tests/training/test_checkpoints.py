"""What is on disk is complete or absent, and what is read back goes on exactly where it stopped."""

from __future__ import annotations

import copy
import json
import math
import shutil

import pytest
import torch
from helpers.damage import breaks, flip_a_bit
from helpers.trainers import CPU, batch_of, small_network, trainer
from torch import nn

from d3pm_image import storage
from d3pm_image.config import ConfigError, DiffusionRun, TrainConfig
from d3pm_image.recipes.resuming import settled
from d3pm_image.seeds import derive
from d3pm_image.training import checkpoint as ckpt
from d3pm_image.training.ema import make_average
from d3pm_image.training.optim import Float32Muon, learning_rate, make_optimizers, orthogonal
from d3pm_image.training.random import StepRandom
from d3pm_image.training.trainer import Trainer

# files and folders


# checkpoints


def tensors_of(value: float) -> dict:
    return {"model": {"w": torch.full((3,), value)}, "optimizer": {"0.step": torch.tensor(value)}}


def test_a_checkpoint_is_read_back(tmp_path):
    place = ckpt.save_checkpoint(tmp_path / "c", 7, tensors_of(1.5), {"best": math.inf, "scaler": {"a": 1}})
    tensors, state = ckpt.load_checkpoint(place)
    assert (
        place.name == "step-00000007"
        and state["step"] == 7
        and state["best"] == math.inf
        and state["scaler"] == {"a": 1}
    )
    assert {k: {n: t.tolist() for n, t in v.items()} for k, v in tensors.items()} == {
        "model": {"w": [1.5] * 3},
        "optimizer": {"0.step": 1.5},
    }


@pytest.mark.parametrize("broken", ["write_tensors", "write_text", "replace_folder", "sha256"])
@pytest.mark.parametrize("again", [False, True])
def test_a_checkpoint_is_complete_or_absent(tmp_path, monkeypatch, broken, again):
    """A write that fails leaves no trace, and the earlier checkpoint of the same step where there was one."""
    if again:
        ckpt.save_checkpoint(tmp_path, 7, tensors_of(1.0), {})
    monkeypatch.setattr(ckpt, broken, breaks)
    with pytest.raises(OSError, match="disk full"):
        ckpt.save_checkpoint(tmp_path, 7, tensors_of(2.0), {})
    monkeypatch.undo()
    assert [p.name for p in tmp_path.iterdir()] == (["step-00000007"] if again else [])
    if again:
        assert ckpt.load_checkpoint(ckpt.checkpoints(tmp_path)[0])[0]["model"]["w"].tolist() == [1.0] * 3


DAMAGES = {
    "missing weights": lambda p: (p / "model.safetensors").unlink(),
    "cut weights": lambda p: (p / "optimizer.safetensors").write_bytes(
        (p / "optimizer.safetensors").read_bytes()[:-1]
    ),
    "flipped bit": lambda p: flip_a_bit(p / "model.safetensors"),
    "cut state": lambda p: (p / "state.json").write_text((p / "state.json").read_text()[:-20]),
    "empty state": lambda p: (p / "state.json").write_text(""),
    "zeroed state": lambda p: (p / "state.json").write_bytes(bytes(100)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_and_named(tmp_path, damage):
    place = ckpt.save_checkpoint(tmp_path, 7, tensors_of(1.0), {})
    DAMAGES[damage](place)
    with pytest.raises(
        ckpt.CheckpointError,
        match="state.json" if "state" in damage else r"\.safetensors: missing or damaged",
    ):
        ckpt.load_checkpoint(place)


def test_a_checksum_list_cannot_name_files_elsewhere(tmp_path):
    place = ckpt.save_checkpoint(tmp_path / "c", 7, tensors_of(1.0), {})
    storage.write_tensors(tmp_path / "outside.safetensors", {"w": torch.zeros(1)})
    state = json.loads((place / "state.json").read_text())
    state["sha256"]["../../outside.safetensors"] = storage.sha256(tmp_path / "outside.safetensors")
    (place / "state.json").write_text(json.dumps(state))
    with pytest.raises(ckpt.CheckpointError):
        ckpt.load_checkpoint(place)


@pytest.mark.parametrize("keep", [1, 2, 5])
def test_prune_keeps_the_last_ones(tmp_path, keep):
    """By number, not by name or age; what a killed write left goes too, and foreign files stay."""
    for step in (100_000_000, 20, 3, 20_000_000):
        ckpt.save_checkpoint(tmp_path, step, tensors_of(1.0), {})
    shutil.copytree(tmp_path / "step-00000020", tmp_path / ".step-00000030.123.part")
    (tmp_path / "step-00000040").mkdir()  # without state.json: not a checkpoint
    (tmp_path / "notes.txt").touch()
    assert [int(p.name[5:]) for p in ckpt.checkpoints(tmp_path)] == [3, 20, 20_000_000, 100_000_000]
    ckpt.prune(tmp_path, keep, 10**9)
    assert [int(p.name[5:]) for p in ckpt.checkpoints(tmp_path)] == [3, 20, 20_000_000, 100_000_000][-keep:]
    assert not list(tmp_path.glob(".*")) and (tmp_path / "notes.txt").exists()


def test_no_folder_holds_no_checkpoints(tmp_path):
    assert ckpt.checkpoints(tmp_path / "none") == []


# a trainer goes on from what it saved


def weights(run: Trainer) -> dict:
    return {
        **{f"raw.{k}": v.clone() for k, v in run.task.model.state_dict().items()},
        **{f"ema.{k}": v.clone() for k, v in run.evaluated().state_dict().items()},
    }


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())


@pytest.mark.parametrize("ema, optimizer", [(0.0, "adamw"), (0.9, "adamw"), (0.9, "muon")])
def test_a_resumed_trainer_takes_the_same_steps(tmp_path, ema, optimizer):
    """Weights, averages and optimizer: bit for bit what an unbroken run has."""
    unbroken, first = (
        trainer(tmp_path, ema=ema, optimizer=optimizer),
        trainer(tmp_path, ema=ema, optimizer=optimizer),
    )
    for step in range(8):
        unbroken.step(batch_of(step))
    for step in range(5):
        first.step(batch_of(step))
    first.save()
    second = trainer(tmp_path, ema=ema, optimizer=optimizer)
    assert second.restore() and second.progress.step == 5
    assert same(weights(second), weights(first)) and not same(weights(second), weights(unbroken))
    for step in range(5, 8):
        second.step(batch_of(step))
    assert same(weights(second), weights(unbroken))


def test_restoring_falls_back_to_the_last_undamaged_checkpoint(tmp_path, capsys):
    run, at = trainer(tmp_path), {}
    for step in range(3):
        run.step(batch_of(step))
        run.save()
        at[run.progress.step] = weights(run)
    flip_a_bit(tmp_path / "checkpoints" / "step-00000003" / "ema.safetensors")
    (tmp_path / "checkpoints" / "step-00000002" / "model.safetensors").unlink()
    again = trainer(tmp_path)
    assert again.restore() and again.progress.step == 1
    assert same(weights(again), at[1])
    message = capsys.readouterr().err
    assert "step-00000003/ema.safetensors" in message and "step-00000002/model.safetensors" in message
    flip_a_bit(tmp_path / "checkpoints" / "step-00000001" / "optimizer.safetensors")
    assert not trainer(tmp_path).restore()


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run = trainer(tmp_path)
    run.step(batch_of(0))
    run.save()
    other = trainer(tmp_path)
    other.task.model.last = nn.Linear(8, 3)
    with pytest.raises(ConfigError, match="does not fit the configuration"):
        other.restore()


@pytest.mark.parametrize("name, count", [("adamw", 1), ("muon", 2)])
def test_optimizer_state_round_trip_gives_the_same_step(name, count):
    """Hyper-parameters stay those of the configuration, moments and counts are those of the state."""
    config = TrainConfig(optimizer=name)

    def step(model, optimizers, seed):
        x = torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
        model(x).square().sum().backward()
        optimizers.step()
        optimizers.zero_grad()

    model = small_network()
    optimizers = make_optimizers(model, config)
    assert len(optimizers.members) == count
    for seed in range(3):
        step(model, optimizers, seed)
    tensors = {}
    for number, (optimizer, _) in enumerate(optimizers.members):
        tensors |= {k: v.clone() for k, v in ckpt.optimizer_tensors(optimizer, f"{number}.").items()}
    twin, forgetful = copy.deepcopy(model), copy.deepcopy(model)
    restored = make_optimizers(twin, config)
    for number, (optimizer, _) in enumerate(restored.members):
        ckpt.load_optimizer(optimizer, tensors, f"{number}.")
    step(model, optimizers, 9)
    step(twin, restored, 9)
    step(forgetful, make_optimizers(forgetful, config), 9)
    assert same(model.state_dict(), twin.state_dict())
    assert not same(model.state_dict(), forgetful.state_dict())


def test_weight_decay_moves_matrices_only():
    """Without gradients' pull, one step shrinks matrices by 1 - lr·decay and leaves biases, norms and embeddings."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {"linear": nn.Linear(3, 3), "norm": nn.LayerNorm(3), "embedding": nn.Embedding(4, 3)}
    )
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizers = make_optimizers(model, TrainConfig(learning_rate=0.1, weight_decay=0.5))
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    optimizers.step()
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name] * (0.95 if name == "linear.weight" else 1))


# averages, rates and randomness


@pytest.mark.parametrize("decay", [0.3, 0.999])
def test_averages_follow_the_warm_start(decay):
    """The first step copies; step n then uses min(decay, (1 + n) / (10 + n)). Buffers are copied, not averaged."""
    model = nn.BatchNorm1d(1)
    average = make_average(model, decay)
    expected = None
    for n, value in enumerate([3.0, -1.0, 5.0, 2.0, 8.0]):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(10 * value)
        average.update_parameters(model)
        rate = min(decay, (1 + n) / (10 + n))
        expected = value if expected is None else rate * expected + (1 - rate) * value
        assert average.module.weight.item() == pytest.approx(expected, rel=1e-6)
        assert float(average.module.running_mean) == 10 * value
        assert model.weight.item() == value


def test_no_average_without_decay():
    assert make_average(small_network(), 0.0) is None


@pytest.mark.parametrize("warmup, steps", [(0, 10), (1, 10), (5, 100), (10, 10), (50, 10)])
def test_learning_rate_end_points(warmup, steps):
    """Rises evenly to the peak, then falls to final_rate × peak at the last step and stays there."""
    config = TrainConfig(steps=steps, warmup_steps=warmup, learning_rate=2.0, final_rate=0.1)
    rates = [learning_rate(step, config) for step in range(max(steps, warmup) + 5)]
    assert rates[:warmup] == pytest.approx([2.0 * (i + 1) / warmup for i in range(warmup)])
    assert all(0 < r <= 2.0 for r in rates)
    assert max(rates) == pytest.approx(2.0)
    if warmup < steps:
        assert rates[warmup] == pytest.approx(2.0)
        assert all(a > b for a, b in zip(rates[warmup:steps], rates[warmup + 1 : steps + 1], strict=True))
        assert rates[(warmup + steps) // 2] == pytest.approx(
            2.0
            * (
                0.1
                + 0.9 * 0.5 * (1 + math.cos(math.pi * ((warmup + steps) // 2 - warmup) / (steps - warmup)))
            )
        )
        assert rates[steps:] == pytest.approx([0.2] * len(rates[steps:]))


def test_the_rate_reaches_every_group():
    """AdamW's two groups take the rate itself, Muon's a multiple of it."""
    optimizers = make_optimizers(small_network(), TrainConfig(optimizer="muon", muon_rate=4.0))
    optimizers.set_learning_rate(0.125)
    assert [[g["lr"] for g in optimizer.param_groups] for optimizer, _ in optimizers.members] == [
        [0.125, 0.125],
        [0.5],
    ]


@pytest.mark.parametrize("shape", [(24, 24), (40, 16), (16, 40)])
def test_muon_in_float32_is_muon_without_rounding(shape):
    """Weights of ten steps are those of torch's Muon but for what bf16 rounds, and the update is orthogonal."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    moved = []
    for kind in (torch.optim.Muon, Float32Muon):
        weight = torch.nn.Parameter(start.clone())
        optimizer = kind([weight], lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        generator = torch.Generator().manual_seed(1)
        for _ in range(10):
            weight.grad = torch.randn(shape, generator=generator)
            optimizer.step()
        moved.append(weight.detach() - start)
    assert torch.allclose(*moved, atol=0.03 * float(moved[0].abs().max()))
    assert not torch.equal(*moved)
    values = torch.linalg.svdvals(orthogonal(start, (3.4445, -4.775, 2.0315), 5, 1e-7))
    assert float(values.min()) > 0.6 and float(values.max()) < 1.3


def test_a_run_keeps_the_precision_of_muon_and_older_runs_have_bf16(tmp_path):
    def chosen(resume: bool, asked: str = "auto") -> str:
        train = TrainConfig(optimizer="muon", muon_precision=asked, threads=1)
        return settled(DiffusionRun(out=str(tmp_path), resume=resume, train=train)).train.muon_precision

    other = {"bf16": "float32", "float32": "bf16"}[chosen(False)]
    for recorded, expected in ((f"muon_precision: {other}", other), ("steps: 5", "bf16")):
        (tmp_path / "config.yaml").write_text(f"train: {{{recorded}}}", encoding="utf-8")
        assert chosen(True) == expected and chosen(False) != other
        assert chosen(True, "float32") == "float32"


def test_every_parameter_is_moved_by_exactly_one_optimizer():
    """Muon takes the matrices inside blocks and nothing else."""
    model = small_network()
    members = make_optimizers(model, TrainConfig(optimizer="muon")).members
    ids = [[id(p) for g in optimizer.param_groups for p in g["params"]] for optimizer, _ in members]
    assert sorted(ids[0] + ids[1]) == sorted(id(p) for p in model.parameters())
    assert ids[1] == [id(model.blocks[0].weight)]


@pytest.mark.parametrize("parts", [1, 2, 3, 6])
def test_noise_does_not_depend_on_how_rows_are_split(parts):
    whole = StepRandom(3, 5, 6, slice(0, 6), CPU)
    expected = [whole.uniform(), whole.uniform(4, 2), whole.shared(), whole.uniform(4)]
    size = 6 // parts
    pieces = [StepRandom(3, 5, 6, slice(i * size, (i + 1) * size), CPU) for i in range(parts)]
    drawn = [[p.uniform(), p.uniform(4, 2), p.shared(), p.uniform(4)] for p in pieces]
    for number in (0, 1, 3):
        assert torch.equal(torch.cat([d[number] for d in drawn]), expected[number])
    assert all(torch.equal(d[2], expected[2]) for d in drawn)


def test_streams_differ_by_seed_step_and_call_and_fill_the_unit_interval():
    def first(seed, step):
        return StepRandom(seed, step, 50, slice(0, 50), CPU)

    source = first(1, 2)
    draws = [source.uniform(40), source.uniform(40), first(1, 3).uniform(40), first(2, 2).uniform(40)]
    assert len({tuple(d.flatten().tolist()) for d in draws}) == 4
    assert torch.equal(first(1, 2).uniform(40), draws[0])
    for d in draws:
        assert d.dtype == torch.float64 and d.min() >= 0 and d.max() < 1
        assert abs(float(d.mean()) - 0.5) < 5 * math.sqrt(1 / 12 / d.numel())


def test_derived_seeds_are_63_bit_and_all_different():
    seeds = {
        derive(*parts)
        for parts in [
            (seed, step, stream) for seed in (0, 1, 2**40) for step in range(30) for stream in range(1, 31)
        ]
    }
    assert len(seeds) == 3 * 30 * 30
    assert min(seeds) >= 0 and 2**62 < max(seeds) < 2**63
