"""Help without torch."""

from __future__ import annotations

import subprocess
import sys


def test_importing_the_package_does_not_import_torch():
    code = "import sys, d3pm_image, d3pm_image.config, d3pm_image.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
