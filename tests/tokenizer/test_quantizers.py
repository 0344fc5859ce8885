"""Six quantizers behind one adapter: exact round trips, float32 whatever the precision, settings that are read, one codebook everywhere."""

from __future__ import annotations

import math

import pytest
import torch
from helpers.quantizers import SMALL, features, network, small, started
from torch.nn import functional as F

from d3pm_image.config import ConfigError
from d3pm_image.tokenizer import Autoencoder
from d3pm_image.tokenizer.bits import coin_entropy, entropy_loss, group_entropy
from d3pm_image.tokenizer.quantizers import EMA, QUANTIZERS, Cosine, Quantizer


@pytest.mark.parametrize("name", QUANTIZERS)
def test_codes_to_features_to_codes_is_exact_for_every_code(name):
    """FSQ takes features before its tanh: there the code's values are led back through the inverse of the bound."""
    quantizer = started(small(name))
    codes = torch.arange(quantizer.settings.num_codes).view(1, 1, -1)
    vectors = quantizer.lookup(codes)
    assert (
        vectors.shape == (1, quantizer.settings.vector_dim, 1, codes.numel())
        and vectors.dtype == torch.float32
    )
    given = vectors
    if name == "fsq":
        values = torch.tensor(quantizer.settings.levels).view(1, -1, 1, 1)
        half, offset = (values - 1) * 1.001 / 2, torch.where(values % 2 == 0, 0.5, 0.0)
        given = ((vectors * (values // 2) + offset) / half).atanh() - (offset / half).atanh()
    again = quantizer(given)
    assert torch.equal(again[1], codes)
    assert torch.equal(again[0], vectors)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_what_a_pass_gives_is_what_its_codes_give(name):
    quantizer = started(small(name))
    quantized, codes, loss = quantizer(features(quantizer.settings, 2, 8, seed=5))
    assert torch.equal(quantized, quantizer.lookup(codes))
    assert codes.dtype == torch.int64 and codes.min() >= 0 and codes.max() < quantizer.settings.num_codes
    assert codes.unique().numel() > 4 and float(loss) == 0


@pytest.mark.parametrize("name", QUANTIZERS)
@pytest.mark.parametrize("training", [False, True])
def test_bf16_autocast_changes_nothing(name, training):
    quantizer = started(small(name))
    given = features(quantizer.settings, 4, 32)
    results = []
    for enabled in (False, True):
        copy = started(small(name)).train(training)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            torch.manual_seed(3)
            results.append(
                [*copy(given), copy.lookup(torch.arange(16).view(1, 4, 4)), *copy.state_dict().values()]
            )
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(*results, strict=True))


@pytest.mark.parametrize("name", QUANTIZERS)
def test_gradients_pass_to_the_features(name):
    """Straight through (or rotated), and the quantizer's own loss pulls features towards their codes where it has one."""
    quantizer = started(small(name)).train()
    given = features(quantizer.settings, 2, 4).requires_grad_()
    quantized, _, loss = quantizer(given)
    (through,) = torch.autograd.grad(
        (quantized * torch.randn(quantized.shape)).sum(), given, retain_graph=True
    )
    assert torch.isfinite(through).all() and (through.abs().sum(1) > 0).all()
    if "commitment" in QUANTIZERS[name].types():
        (own,) = torch.autograd.grad(loss, given)
        assert torch.isfinite(own).all() and float(own.abs().sum()) > 0


@pytest.mark.parametrize("name", ["ema", "cosine", "simvq"])
def test_the_nearest_code_is_taken(name):
    quantizer = started(small(name))
    given = features(quantizer.settings, 2, 8)
    flat, book = (
        given.permute(0, 2, 3, 1).double(),
        quantizer.lookup(torch.arange(16).view(1, 1, 16))[0, :, 0].T.double(),
    )
    similar = F.normalize(flat, dim=-1) @ book.T if name == "cosine" else -torch.cdist(flat, book)
    assert (quantizer(given)[1] == similar.argmax(-1)).double().mean() > 0.99
    assert name != "cosine" or torch.allclose(
        book.norm(dim=1), torch.ones(16, dtype=torch.float64), atol=1e-5
    )


CHANGES = {
    "num_codes": 8,
    "code_dim": 5,
    "decay": 0.5,
    "commitment": 1.5,
    "revive_below": 0.9,
    "rotation_trick": True,
    "levels": (5, 4, 3),
    "entropy": 0.7,
}


@pytest.mark.parametrize(
    "name, field", [(name, field) for name, kind in QUANTIZERS.items() for field in kind.types()]
)
def test_every_setting_that_a_quantizer_reads_changes_its_training(name, field):
    def trained(quantizer: Quantizer) -> list[torch.Tensor]:
        module = started(quantizer, vectors_a_step=1600).train()
        given = features(quantizer, 1, 8, seed=2).requires_grad_()
        for _ in range(3):
            torch.manual_seed(1)
            quantized, codes, loss = module(given)
        (gradient,) = torch.autograd.grad(quantized.square().sum() + loss, given)
        return [gradient, loss.detach(), codes, *module.state_dict().values()]

    plain, changed = trained(small(name)), trained(small(name, **{field: CHANGES[field]}))
    assert any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(plain, changed, strict=True))


@pytest.mark.parametrize(
    "name, field",
    [(name, field) for name, kind in QUANTIZERS.items() for field in CHANGES if field not in kind.types()],
)
def test_a_setting_that_the_quantizer_does_not_have_is_refused(name, field):
    with pytest.raises(
        ConfigError,
        match=rf"^tokenizer\.quantizer\.{field}=.*the quantizer {name} has no such setting; .* ha(s|ve) it",
    ):
        small(name, **{field: CHANGES[field]})


def test_a_wrong_setting_names_the_quantizers_that_have_it_and_the_nearest_name():
    with pytest.raises(ConfigError, match=r"levels=.*the quantizer ema has no such setting; fsq has it$"):
        QUANTIZERS.make("ema", levels=(8, 8))
    with pytest.raises(ConfigError, match=r"comitment=.*no quantizer has it \(did you mean commitment\?\)"):
        QUANTIZERS.make("lfq", comitment=1)


@pytest.mark.parametrize(
    "name, changes, words",
    [
        ("fsq", {"levels": (2, 256)}, r"levels=\(2, 256\): give 3 values"),
        ("fsq", {"levels": ()}, r"levels=\(\): give 3 values"),
        ("fsq", {"levels": 5}, "levels=5: give 3 values"),
        ("fsq", {"levels": (300, 300)}, r"levels=\[300, 300\]: make 90000 codes; at most 65535"),
        (
            "lfq",
            {"num_codes": 1000},
            "num_codes=1000: lfq has one bit per coordinate: use a power of 2, such as 1024",
        ),
        ("bsq", {"num_codes": 65000}, "such as 32768"),
        ("residual", {}, "quantizer='residual': use one of"),
        (["fsq"], {}, r"quantizer=\['fsq'\]: use one of"),
    ],
)
def test_codebooks_that_cannot_be_are_refused(name, changes, words):
    with pytest.raises(ConfigError, match=words):
        QUANTIZERS.make(name, **changes)


def test_settings_hold_where_their_quantizer_is_asked_for():
    begun = EMA(num_codes=64, decay=0.5)
    assert QUANTIZERS.change(begun, decay=0.9) == EMA(num_codes=64, decay=0.9)
    assert QUANTIZERS.change(begun, name="cosine", num_codes=32) == Cosine(num_codes=32)


@pytest.mark.parametrize("name, width", [("ema", 4), ("simvq", 4), ("fsq", 3), ("lfq", 4), ("bsq", 4)])
def test_the_encoder_gives_what_the_quantizer_takes(name, width):
    assert small(name).vector_dim == width
    model = Autoencoder(network(name), 1).eval()
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
    assert float(entropy_loss(every[:1].expand(16, 4), 100.0, False)) == pytest.approx(
        0, abs=1e-4
    )  # one code is used
    torch.manual_seed(0)
    assert all(best <= float(entropy_loss(torch.randn(16, 4), 4.0, False)) <= 1e-6 for _ in range(20))


def test_entropy_by_groups_bounds_the_joint_one_and_is_exact_for_independent_bits():
    torch.manual_seed(0)
    logits = torch.randn(50, 6)
    assert float(group_entropy(logits, False)) <= float(
        group_entropy(logits[:, :3], False) + group_entropy(logits[:, 3:], False)
    )
    same = logits[:1].expand(50, 6)
    torch.testing.assert_close(group_entropy(same, False), coin_entropy(same[0]).sum())
    many = torch.randn(4, 12)  # 4096 codes: two groups
    torch.testing.assert_close(
        entropy_loss(many, 1.0, False),
        coin_entropy(many).sum(1).mean()
        - group_entropy(many[:, :6], False)
        - group_entropy(many[:, 6:], False),
    )


# folders


# more than one process


def test_every_quantizer_has_a_row_and_says_what_it_is():
    assert set(SMALL) == set(QUANTIZERS) and set(CHANGES) == set(QUANTIZERS.types())
    for kind in QUANTIZERS.values():
        assert kind.__doc__ and set(kind.describe()) == set(kind.types())
