"""What a device computes fast."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.apple import apple_machine
from PIL import Image
from torch.utils._python_dispatch import TorchDispatchMode

from d3pm_image import Pipeline
from d3pm_image.cli import main
from d3pm_image.compiler import compiler_works
from d3pm_image.config import ConfigError, TrainConfig
from d3pm_image.devices import bf16_is_fast, casts_kept, pick_device, pick_mixed_precision, pick_precision
from d3pm_image.training.loop import make_accelerator


@pytest.mark.parametrize(
    ("able", "fast"),
    [
        ({"avx512_f": True, "avx512_bf16": False, "amx_bf16": False}, False),
        ({"avx512_f": True, "avx512_bf16": True}, True),
        ({"amx_bf16": True}, True),
        ({"architecture": "arm64", "neon": True, "bf16": True}, True),
        ({"architecture": "arm64", "neon": True}, False),
    ],
)
def test_a_processor_is_asked_for_its_instructions(able, fast, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able, raising=False)
    assert bf16_is_fast("cpu") is fast


@pytest.mark.parametrize("has", ["avx512", "amx"])
def test_an_older_torch_is_asked_too(has, monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has == "avx512")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has == "amx")
    assert bf16_is_fast("cpu")
    monkeypatch.setattr(torch.cpu, f"_is_{'avx512_bf16' if has == 'avx512' else 'amx_tile'}_supported", bool)
    assert not bf16_is_fast("cpu")


@pytest.fixture
def fast(monkeypatch, request):
    """A processor that is fast in bfloat16, or is not, and nobody who says otherwise."""
    monkeypatch.delenv("D3PM_IMAGE_PRECISION", raising=False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": request.param}, raising=False)
    return request.param


both = pytest.mark.parametrize("fast", [False, True], indirect=True, ids=["slow bf16", "fast bf16"])


@both
def test_auto_is_what_the_processor_does_fast(fast):
    assert pick_precision("auto", "cpu") == ("bf16" if fast else "float32")
    assert pick_mixed_precision("auto") == ("bf16" if fast else "no") or torch.cuda.is_available()
    assert [pick_precision(name, "cpu") for name in ("float32", "bf16")] == ["float32", "bf16"]
    assert [pick_mixed_precision(name) for name in ("no", "bf16", "fp16")] == ["no", "bf16", "fp16"]


@both
@pytest.mark.parametrize("word", ["float32", "bf16"])
def test_the_environment_decides_for_auto_alone(fast, word, monkeypatch):
    monkeypatch.setenv("D3PM_IMAGE_PRECISION", word)
    assert pick_precision("auto", "cpu") == word
    assert pick_mixed_precision("auto") == ("no" if word == "float32" else "bf16")
    assert pick_precision("float32", "cpu") == "float32" and pick_mixed_precision("no") == "no"


def test_wrong_words_are_named(monkeypatch):
    with pytest.raises(ConfigError, match="precision='half': use one of auto, float32, bf16"):
        pick_precision("half", "cpu")
    monkeypatch.setenv("D3PM_IMAGE_PRECISION", "fp8")
    with pytest.raises(ConfigError, match="D3PM_IMAGE_PRECISION='fp8'"):
        pick_precision("auto", "cpu")


@both
def test_a_pipeline_is_loaded_in_it_and_keeps_what_was_chosen(fast):
    auto = "bf16" if fast else "float32"
    assert Pipeline.from_pretrained("fashion-mnist").precision == auto
    assert Pipeline.from_pretrained("fashion-mnist", precision="float32").to("cpu").precision == "float32"
    pipe = Pipeline.from_pretrained("fashion-mnist", precision="bf16")
    assert (
        pipe.precision == "bf16"
        and pipe.to(torch.float32).precision == "float32"
        and pipe.to("cpu").precision == "float32"
    )


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about processors")
@both
def test_an_image_says_which_precision_made_it(fast, tmp_path, capsys):
    main(
        ["generate", "fashion-mnist", "--num-images", "1", "--steps", "1", "--out", str(tmp_path / "one.png")]
    )
    main(["show", str(tmp_path / "one.png")])
    assert ("bf16" if fast else "float32") in capsys.readouterr().out
    with Image.open(tmp_path / "one.png") as image:
        assert ("bf16" if fast else "float32") in " ".join(map(str, image.info.values()))


class Casts(TorchDispatchMode):
    """Counts tensors of a shape that are cast to another type."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.count = shape, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._to_copy.default and args[0].shape == self.shape
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def test_weights_are_cast_once_in_a_drawing(pipe):
    """In bfloat16, whatever the number of network calls, and to the same codes."""
    weight = pipe.denoiser.blocks[0].attention.qkv.weight
    half = Pipeline.from_pretrained("fashion-mnist", precision="bf16")
    with Casts(weight.shape) as casts:
        codes = half.generate_codes(2, seed=3, steps=4)
    assert casts.count == len(half.denoiser.blocks)
    with torch.autocast("cpu", enabled=True, cache_enabled=False):  # somebody's own
        again = half.generate_codes(2, seed=3, steps=4)
    assert torch.equal(codes, again)


@torch.no_grad()
def test_kept_casts_change_nothing_else():
    layer, x = torch.nn.Linear(8, 8), torch.randn(2, 8)
    with casts_kept(torch.device("cpu")):
        assert layer(x).dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            first = layer(x)
        layer.weight.zero_()
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(layer(x), first)  # still cast from what it was
    with torch.autocast("cpu", torch.bfloat16), casts_kept(torch.device("cpu")):
        assert layer(x).dtype == torch.bfloat16
    with casts_kept(torch.device("meta")):
        pass


def test_an_apple_gpu_is_taken_where_there_is_one_and_asked_for():
    if not torch.backends.mps.is_available():
        with pytest.raises(ConfigError, match="device='mps': no Apple GPU that torch can use here"):
            pick_device("mps")
    with apple_machine() as device:
        assert pick_device("mps") == "mps" and pick_precision("auto", device) == "float32"
        assert torch.cuda.is_available() or pick_device("auto") == "cpu"  # never tried on hardware
        assert not bf16_is_fast(device) and not compiler_works(device)
        with casts_kept(device):
            assert not torch.is_autocast_enabled("mps")
    with pytest.raises(ConfigError, match="device='tpu': no such device here"):
        pick_device("tpu")


def test_commands_draw_and_reconstruct_on_an_apple_gpu(tmp_path, capsys):
    """The images of the CPU, from the command line."""

    drawn = tmp_path / "drawn.png"
    main(["generate", "fashion-mnist", "--num-images", "1", "--steps", "1", "--out", str(drawn)])

    def commands(device):
        for name, more in (
            ("generate", ["--num-images", "2", "--steps", "3"]),
            ("reconstruct", [str(drawn)]),
        ):
            out = ["--device", device, "--out", str(tmp_path / f"{name}_{device}.png")]
            main([name, "fashion-mnist", *more, *out])

    commands("cpu")
    with apple_machine():
        commands("mps")
    for name in ("generate", "reconstruct"):
        a, b = (Image.open(tmp_path / f"{name}_{device}.png") for device in ("cpu", "mps"))
        assert np.abs(np.asarray(a).astype(int) - np.asarray(b)).max() <= 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="is about machines without CUDA")
def test_training_stays_on_the_cpu_beside_an_apple_gpu():
    with apple_machine():
        assert make_accelerator(TrainConfig(batch_size=4)).device.type == "cpu"


@pytest.mark.parametrize(("count", "place"), [(4, "cuda:1"), (2, "cuda:1"), (1, "")])
def test_each_process_has_a_gpu_of_its_own_or_none_starts(count, place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    if place:
        assert pick_device("auto") == pick_device("cuda") == place
    else:
        with pytest.raises(ConfigError, match=r"device='auto': 2 processes on this machine and 1 GPUs"):
            pick_device("auto")
