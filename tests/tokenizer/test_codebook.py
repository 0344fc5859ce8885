"""The search for the nearest code: the codes that vector-quantize-pytorch finds, a part of the features at a time."""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F
from vector_quantize_pytorch import VectorQuantize

from d3pm_image.config import TokenizerConfig
from d3pm_image.tokenizer import Autoencoder, codebook
from d3pm_image.tokenizer.codebook import AveragesCodebook, nearest_codes
from d3pm_image.tokenizer.ema_codebook import Moves
from d3pm_image.tokenizer.quantizers import EMA


def codes_and_vectors(count: int, width: int = 8, vectors: int = 300, unit: bool = False):
    draw = torch.Generator().manual_seed(0)
    made = torch.randn(count, width, generator=draw), torch.randn(vectors, width, generator=draw)
    return [F.normalize(one, dim=-1) if unit else one for one in made]


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("count", [2, 7, 512])
@pytest.mark.parametrize("at_once", [1, 100, 700, 2**20])
def test_parts_of_any_size_give_the_nearest_codes(count, unit, at_once, monkeypatch):
    codes, vectors = codes_and_vectors(count, unit=unit)
    exact = torch.cdist(vectors.double(), codes.double(), compute_mode="donot_use_mm_for_euclid_dist")
    monkeypatch.setitem(codebook.AT_ONCE, "cpu", at_once)
    assert torch.equal(nearest_codes(vectors, codes, unit), exact.argmin(1))


def test_the_first_of_equal_codes_is_taken():
    codes = torch.tensor([[3.0, 0.0], [1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]])
    found = nearest_codes(torch.tensor([[1.1, 0.0], [0.0, 5.0], [2.9, 0.0]]), codes)
    assert found.tolist() == [1, 1, 0]


def test_no_more_distances_are_held_than_are_computed_at_once(monkeypatch):
    shapes = []

    def watched(*given, **options):
        shapes.append((len(given[1]), len(given[0])))
        return real(*given, **options)

    real = torch.addmm
    monkeypatch.setitem(codebook.AT_ONCE, "cpu", 1000)
    monkeypatch.setattr(torch, "addmm", watched)
    codes, vectors = codes_and_vectors(100)
    nearest_codes(vectors, codes)
    assert len(shapes) == 30 and max(rows * columns for rows, columns in shapes) <= 1000


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("rotate", [False, True])
@pytest.mark.parametrize("training", [False, True])
def test_a_pass_is_that_of_the_library(unit, rotate, training):
    """Quantized features, codes, loss and gradients, and the k-means start before them."""
    features = torch.randn(3, 50, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()
    library = VectorQuantize(
        6,
        16,
        commitment_weight=0.3,
        kmeans_init=True,
        rotation_trick=rotate,
        use_cosine_sim=unit,
        threshold_ema_dead_code=0,
    )
    results = []
    for module in (AveragesCodebook(16, 6, unit, 0.3, rotate, False), library):
        module.train(training)
        torch.manual_seed(2)
        quantized, codes, loss = (
            module(features) if module is not library else module(features, freeze_codebook=True)
        )
        held = dict(module.state_dict())
        parts = [quantized.detach(), codes, loss.detach().sum(), *(held[name] for name in sorted(held))]
        if training:
            (quantized.square().sum() + loss.sum()).backward()
            parts.append(features.grad)
            features.grad = None
        results.append(parts)
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


STARTED = """
import sys
from d3pm_image.cli import main
sys.argv = ["d3pm-image", "generate", "fashion-mnist", "--num-images", "1", "--steps", "1", "--out", sys.argv[1]]
main()
print(*sorted({"torch._dynamo", "torch._inductor", "sympy", "einx", "vector_quantize_pytorch", "accelerate", "torchvision", "matplotlib"} & set(sys.modules)))
"""


@pytest.mark.integration
def test_drawing_waits_for_no_compiler(tmp_path):
    """``generate`` imports nothing that takes seconds but torch."""
    done = subprocess.run(
        [sys.executable, "-c", STARTED, str(tmp_path / "one.png")], capture_output=True, text=True, check=True
    )
    assert (tmp_path / "one.png").is_file()
    assert done.stdout.splitlines()[-1] == "", done.stdout


@pytest.mark.integration
def test_the_codebook_moves_outside_compiled_graphs(monkeypatch):
    """Once for all tokenizers, so that a copy moves its own codebook; nothing before somebody compiles."""
    for kind, name in ((Moves, "add"), (AveragesCodebook, "start")):
        real = getattr(kind, name)
        monkeypatch.setattr(kind, name, lambda *given, real=real, **named: real(*given, **named))
    quantizer = EMA(num_codes=16, code_dim=4, revive_below=0.0)
    model = Autoencoder(TokenizerConfig(downsampling=2, multipliers=(1,), width=8, quantizer=quantizer), 1)
    assert not hasattr(Moves.add, "_torchdynamo_disable")
    model.compile(backend="eager")
    disabled = Moves.add, AveragesCodebook.start
    assert all(method._torchdynamo_disable for method in disabled)
    twin = copy.deepcopy(model)
    twin.compile(backend="eager")
    assert (Moves.add, AveragesCodebook.start) == disabled
    images, others = torch.rand(2, 4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model(images), twin(images)
    kept = model.quantizer.vq.codebook.clone()
    moved = twin.quantizer.vq.codebook.clone()
    twin(others)
    assert torch.equal(model.quantizer.vq.codebook, kept) and not torch.equal(
        twin.quantizer.vq.codebook, moved
    )
