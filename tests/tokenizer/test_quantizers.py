"""Six quantizers behind one adapter: exact round trips, float32 whatever the precision, settings that are read, one codebook everywhere."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
import torch
from helpers.quantizers import features, settings, started
from torch.nn import functional as F

from d3pm_image.config import ConfigError, TokenizerConfig
from d3pm_image.config.tokenizer import QUANTIZERS
from d3pm_image.tokenizer import Autoencoder, load_tokenizer, save_tokenizer
from d3pm_image.tokenizer.bits import coin_entropy, entropy_loss, group_entropy


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_to_features_to_codes_is_exact_for_every_code(name):
    """FSQ takes features before its tanh: there the code's values are led back through the inverse of the bound."""
    quantizer = started(settings(name))
    codes = torch.arange(quantizer.config.num_codes).view(1, 1, -1)
    vectors = quantizer.lookup(codes)
    assert vectors.shape == (1, quantizer.config.vector_dim, 1, codes.numel()) and vectors.dtype == torch.float32
    given = vectors
    if name == "fsq":
        values = torch.tensor(quantizer.config.levels).view(1, -1, 1, 1)
        half, offset = (values - 1) * 1.001 / 2, torch.where(values % 2 == 0, 0.5, 0.0)
        given = ((vectors * (values // 2) + offset) / half).atanh() - (offset / half).atanh()
    again = quantizer(given)
    assert torch.equal(again[1], codes)
    assert torch.equal(again[0], vectors)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_a_pass_gives_is_what_its_codes_give(name):
    quantizer = started(settings(name))
    quantized, codes, loss = quantizer(features(quantizer.config, 2, 8, seed=5))
    assert torch.equal(quantized, quantizer.lookup(codes))
    assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < quantizer.config.num_codes
    assert codes.unique().numel() > 4 and float(loss) == 0


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("training", [False, True])
def test_bf16_autocast_changes_nothing(name, training):
    quantizer = started(settings(name))
    given = features(quantizer.config, 4, 32)
    results = []
    for enabled in (False, True):
        copy = started(settings(name)).train(training)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            torch.manual_seed(3)
            results.append([*copy(given), copy.lookup(torch.arange(16).view(1, 4, 4)), *copy.state_dict().values()])
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_gradients_pass_to_the_features(name):
    """Straight through (or rotated), and the quantizer's own loss pulls features towards their codes where it has one."""
    quantizer = started(settings(name)).train()
    given = features(quantizer.config, 2, 4).requires_grad_()
    quantized, _, loss = quantizer(given)
    (through,) = torch.autograd.grad((quantized * torch.randn(quantized.shape)).sum(), given, retain_graph=True)
    assert torch.isfinite(through).all() and (through.abs().sum(1) > 0).all()
    if "commitment" in QUANTIZERS[name]:
        (own,) = torch.autograd.grad(loss, given)
        assert torch.isfinite(own).all() and float(own.abs().sum()) > 0


@pytest.mark.parametrize("name", ["ema", "cosine", "simvq"])
def test_the_nearest_code_is_taken(name):
    quantizer = started(settings(name))
    given = features(quantizer.config, 2, 8)
    flat, book = given.permute(0, 2, 3, 1).double(), quantizer.lookup(torch.arange(16).view(1, 1, 16))[0, :, 0].T.double()
    similar = F.normalize(flat, dim=-1) @ book.T if name == "cosine" else -torch.cdist(flat, book)
    assert (quantizer(given)[1] == similar.argmax(-1)).double().mean() > 0.99
    assert name != "cosine" or torch.allclose(book.norm(dim=1), torch.ones(16, dtype=torch.float64), atol=1e-5)


CHANGES = {"code_dim": 5, "decay": 0.5, "commitment": 1.5, "revive_below": 0.9, "rotation_trick": True, "levels": (5, 4, 3), "entropy": 0.7}


@pytest.mark.parametrize("name, field", [(name, field) for name, fields in QUANTIZERS.items() for field in fields])
def test_every_setting_that_a_quantizer_reads_changes_its_training(name, field):
    def trained(config: TokenizerConfig) -> list[torch.Tensor]:
        quantizer = started(config, vectors_a_step=1600).train()
        given = features(config, 1, 8, seed=2).requires_grad_()
        for _ in range(3):
            torch.manual_seed(1)
            quantized, codes, loss = quantizer(given)
        (gradient,) = torch.autograd.grad(quantized.square().sum() + loss, given)
        return [gradient, loss.detach(), codes, *quantizer.state_dict().values()]

    plain, changed = trained(settings(name)), trained(settings(name, **{field: CHANGES[field]}))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(plain, changed, strict=True))


@pytest.mark.parametrize(
    "name, field", [(n, f) for n, fields in QUANTIZERS.items() for f in sorted({f for g in QUANTIZERS.values() for f in g} - set(fields))]
)
def test_a_setting_that_the_quantizer_would_ignore_is_refused(name, field):
    with pytest.raises(ConfigError, match=rf"^tokenizer\.{field}=.*is not read by the quantizer {name} .*leave it at"):
        settings(name, **{field: CHANGES[field]})


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"quantizer": "fsq", "levels": (8, 5, 5, 5)}, r"num_codes=512: levels \[8, 5, 5, 5\] make 1000 codes: give 1000"),
        ({"quantizer": "fsq", "levels": (2, 256)}, r"levels=\[2, 256\]: give 3 values"),
        ({"quantizer": "fsq", "levels": ()}, r"levels=\[\]: give 3 values"),
        ({"quantizer": "fsq", "levels": (300, 300), "num_codes": 90000}, "num_codes=90000: use 2 to 65535"),
        ({"quantizer": "lfq", "num_codes": 1000}, "num_codes=1000: lfq has one bit a coordinate: use a power of 2, such as 1024"),
        ({"quantizer": "bsq", "num_codes": 65000}, "such as 32768"),
        ({"quantizer": "residual"}, "quantizer='residual': use ema, cosine"),
    ],
)
def test_codebooks_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        TokenizerConfig(**changes)


@pytest.mark.parametrize("name, width", [("ema", 4), ("simvq", 4), ("fsq", 3), ("lfq", 4), ("bsq", 4)])
def test_the_encoder_gives_what_the_quantizer_takes(name, width):
    assert settings(name).vector_dim == width
    model = Autoencoder(settings(name), 1).eval()
    assert model.encoder(torch.zeros(1, 1, 8, 8)).shape == (1, width, 4, 4)


# the entropy of bits


def all_codes(logits: torch.Tensor) -> torch.Tensor:
    """p(code | u) for every code, by the definition: a product of one coin a bit."""
    count = logits.shape[1]
    rows = []
    for code in range(2**count):
        bits = torch.tensor([(code >> i) & 1 for i in range(count)], dtype=torch.bool)
        rows.append(torch.where(bits, logits.sigmoid(), 1 - logits.sigmoid()).prod(1))
    return torch.stack(rows, 1)


def test_the_entropy_loss_is_that_of_all_codes():
    given = torch.randn(20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    p = all_codes(3 * given)
    entropy = lambda q: -torch.special.xlogy(q, q).sum(-1)  # noqa: E731
    torch.testing.assert_close(entropy_loss(given, 3.0, False), entropy(p).mean() - entropy(p.mean(0)))
    torch.testing.assert_close(coin_entropy(3 * given).sum(1), entropy(p))


def test_the_entropy_loss_is_lowest_where_bits_are_sure_and_codes_even():
    every = torch.tensor([[1.0 if code >> i & 1 else -1.0 for i in range(4)] for code in range(16)])
    best = float(entropy_loss(every, 100.0, False))
    assert best == pytest.approx(-math.log(16), abs=1e-4)
    assert float(entropy_loss(every * 0, 100.0, False)) == pytest.approx(0, abs=1e-5)  # nothing is sure
    assert float(entropy_loss(every[:1].expand(16, 4), 100.0, False)) == pytest.approx(0, abs=1e-4)  # one code is used
    torch.manual_seed(0)
    assert all(best <= float(entropy_loss(torch.randn(16, 4), 4.0, False)) <= 1e-6 for _ in range(20))


def test_entropy_by_groups_bounds_the_joint_one_and_is_exact_for_independent_bits():
    torch.manual_seed(0)
    logits = torch.randn(50, 6)
    assert float(group_entropy(logits, False)) <= float(group_entropy(logits[:, :3], False) + group_entropy(logits[:, 3:], False))
    same = logits[:1].expand(50, 6)
    torch.testing.assert_close(group_entropy(same, False), coin_entropy(same[0]).sum())
    many = torch.randn(4, 12)  # 4096 codes: two groups
    torch.testing.assert_close(
        entropy_loss(many, 1.0, False),
        coin_entropy(many).sum(1).mean() - group_entropy(many[:, :6], False) - group_entropy(many[:, 6:], False),
    )


# folders


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_saved_tokenizer_of_any_quantizer_is_the_same(name, tmp_path):
    torch.manual_seed(0)
    model = Autoencoder(settings(name), 1)
    images = torch.rand(4, 1, 16, 16)
    model.eval()(images)
    save_tokenizer(model, tmp_path, 16)
    again, _ = load_tokenizer(tmp_path)
    assert again.config == model.config
    assert torch.equal(again.encode(images), model.encode(images)) and model.encode(images).unique().numel() > 1
    assert torch.equal(again.decode(model.encode(images)), model.decode(model.encode(images)))
    stored = json.loads((tmp_path / "config.json").read_text())["tokenizer"]
    assert stored["quantizer"] == name and tuple(stored["levels"]) == model.config.levels


OLD_FIELDS = {
    "downsampling",
    "width",
    "multipliers",
    "blocks",
    "num_codes",
    "code_dim",
    "decay",
    "commitment",
    "revive_below",
    "rotation_trick",
}
OLD_BUFFERS = {f"quantizer.vq._codebook.{name}" for name in ("initted", "cluster_size", "embed_avg", "embed")}


def test_folders_of_the_first_version_load(tmp_path):
    """They knew one quantizer and none of the later settings; the names of its tensors are part of the format."""
    model = Autoencoder(settings("ema"), 1).eval()
    model(torch.rand(4, 1, 16, 16))
    save_tokenizer(model, tmp_path, 16)
    file = tmp_path / "config.json"
    raw = json.loads(file.read_text())
    raw["tokenizer"] = {k: v for k, v in raw["tokenizer"].items() if k in OLD_FIELDS}
    assert set(raw["tokenizer"]) == OLD_FIELDS
    file.write_text(json.dumps(raw))
    assert {k for k in model.state_dict() if k.startswith("quantizer")} == OLD_BUFFERS
    again, _ = load_tokenizer(tmp_path)
    assert again.config == model.config
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())


# more than one process


def test_the_settings_of_quantizers_are_fields():
    assert {f for fields in QUANTIZERS.values() for f in fields} == set(CHANGES) <= {f.name for f in dataclasses.fields(TokenizerConfig)}
