"""Names whose bytes are not UTF-8."""

from __future__ import annotations

import os

ODD = os.fsdecode(b"gr\xfcn")
