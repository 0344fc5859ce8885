"""The shell scripts: what they refuse before they write anything."""

import shutil
import subprocess

import pytest
from helpers.paths import ROOT


@pytest.mark.parametrize(("gigabytes", "free", "enough"), [(9, 8, False), (9, 9, True), (9, 500, True)])
def test_a_full_disk_is_named_before_anything_is_installed(tmp_path, gigabytes, free, enough):
    """A tool in the place of df tells how much is free; pip on a full disk leaves half an environment and often no message."""
    folder = tmp_path / "tools"
    folder.mkdir()
    df = folder / "df"
    df.write_text(
        f"#!/bin/sh\necho Filesystem blocks Used Available Capacity Mounted\necho disk 0 0 {free * 1_000_000 + 5} 1% /\n"
    )
    df.chmod(0o755)
    bash = shutil.which("bash")
    assert bash
    script = f'PATH="{folder}:$PATH"; . "{ROOT}/scripts/environment.sh"; need_space {gigabytes} "$1"'
    done = subprocess.run(
        [bash, "-euc", script, "bash", str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode == 0) == enough
    if not enough:
        assert str(tmp_path) in done.stderr and "8 GB free" in done.stderr and "9 GB" in done.stderr
