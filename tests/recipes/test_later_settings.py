"""Settings that came after a run was begun: what it does not name has the old meaning."""

from __future__ import annotations

import pytest

from d3pm_image.config import ConfigError, DiffusionRun, ProcessConfig, TokenizerRun
from d3pm_image.config.diffusion import DenoiserConfig
from d3pm_image.data.identity import Identity
from d3pm_image.recipes.resuming import BEFORE, Images, RunIdentity, settings_of


def identity(**changes) -> RunIdentity:
    images = Images("key", (), Identity("one"))
    return RunIdentity(DiffusionRun(tokenizer="runs/t", **changes), {}, images, images)


def saved_before() -> dict:
    found = identity().saved()
    return found | {"settings": {k: v for k, v in found["settings"].items() if k not in BEFORE}}


def test_an_old_run_goes_on_as_it_was(tmp_path):
    identity().check(saved_before(), tmp_path)
    both = set(settings_of(identity().config)) | set(settings_of(TokenizerRun()))
    assert set(BEFORE) <= both, "each is a setting"


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"process": ProcessConfig(kernel="gaussian")}, "process.kernel"),
        ({"denoiser": DenoiserConfig(known_share=0.5)}, "denoiser.known_share"),
    ],
)
def test_an_old_run_takes_no_setting_that_changes_it(changes, name, tmp_path):
    with pytest.raises(ConfigError, match=rf"{name}=.*was begun with"):
        identity(**changes).check(saved_before(), tmp_path)
