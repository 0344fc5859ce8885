"""Our distances against torch-fidelity's on the same features, and its Inception network from a file."""

from __future__ import annotations

import pickle

import pytest
import torch

from d3pm_image.config import ConfigError
from d3pm_image.metrics.feature_extractor import inception_score
from d3pm_image.metrics.fidelity import frechet_distance, manifold
from d3pm_image.metrics.inception import inception_space
from d3pm_image.metrics.kernel import kernel_distance

pytest.importorskip("torch_fidelity")
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric


def features(count: int, seed: int, shift: float = 0.0, size: int = 24) -> torch.Tensor:
    """Correlated, not normal, of very different spread in different directions."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(size, size, generator=torch.Generator().manual_seed(99)) * torch.logspace(
        -1, 0.5, size
    )
    return (torch.randn(count, size, generator=generator).relu() + shift) @ mixing


@pytest.mark.parametrize("sizes", [(400, 400), (400, 250)])
@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0])
def test_frechet_distance(sizes, shift):
    a, b = features(sizes[0], 1), features(sizes[1], 2, shift)
    stats = [fid_features_to_statistics(x) for x in (a, b)]
    theirs = fid_statistics_to_metric(*stats, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-3)


@pytest.mark.parametrize("shift", [0.02, 0.1, 1.0])
def test_kernel_distance(shift):
    a, b = features(300, 1), features(300, 2, shift)
    theirs = kid_features_to_metric(a.double(), b.double(), kid_subsets=1, kid_subset_size=300, verbose=False)
    assert kernel_distance(a, b).value == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-3)


def test_the_mean_over_their_subsets_lies_within_our_errors():
    a, b = features(600, 1), features(600, 2, 0.1)
    theirs = kid_features_to_metric(
        a.double(), b.double(), kid_subsets=100, kid_subset_size=100, verbose=False
    )
    ours = kernel_distance(a, b)
    assert abs(ours.value - theirs["kernel_inception_distance_mean"]) < 2 * ours.standard_error


def test_precision_and_recall():
    a, b = features(300, 1), features(300, 2, 0.2)
    ours = manifold(b, a, neighbours=3)
    theirs = prc_features_to_metric(
        a.double(), b.double(), prc_neighborhood=3, prc_batch_size=1000, verbose=False
    )
    assert (ours["precision"], ours["recall"]) == pytest.approx(
        (theirs["precision"], theirs["recall"]), abs=1e-6
    )


def test_inception_score():
    logits = 3 * torch.randn(500, 7, generator=torch.Generator().manual_seed(0))
    theirs = isc_features_to_metric(logits, splits=10, shuffle=False)
    ours = inception_score(logits.double().softmax(1))
    assert ours == pytest.approx((theirs["inception_score_mean"], theirs["inception_score_std"]), rel=1e-6)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as torch-fidelity's own, with weights drawn at random."""
    from torch_fidelity import feature_extractor_inceptionv3 as theirs

    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(theirs, "load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(theirs.FeatureExtractorInceptionV3, "load_state_dict", lambda self, state: None)
        network = theirs.FeatureExtractorInceptionV3("x", ["2048"])
    file = tmp_path_factory.mktemp("inception") / "weights.pth"
    torch.save(network.state_dict(), file)
    return file


def test_inception_reads_a_file_and_sees_grey_as_colour(weights):
    space = inception_space(str(weights))
    grey = torch.randint(
        0, 256, (2, 1, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    found = space.features(grey)
    assert found.shape == (2, 2048) and len(space.sha256) == 64
    torch.testing.assert_close(space.features(grey.expand(-1, 3, -1, -1)), found)
    assert space.probabilities(grey).sum(1).tolist() == pytest.approx([1, 1])


def test_hostile_and_missing_inception_files_are_refused(tmp_path, weights):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("x",))

    trap = tmp_path / "trap.pth"
    trap.write_bytes(pickle.dumps(Trap()))
    other = tmp_path / "other.pth"
    torch.save({"a": torch.zeros(1)}, other)
    for file, message in (
        (trap, "not a file of weights"),
        (other, "is not an Inception network"),
        (tmp_path / "none.pth", "no such file"),
        ("", "let it be downloaded"),
    ):
        with pytest.raises(ConfigError, match=rf"features_weights.*{message}"):
            inception_space(str(file))
    assert not (tmp_path / "sprung").exists()
