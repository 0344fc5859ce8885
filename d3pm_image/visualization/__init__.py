"""Visualization of a decode: when cells were revealed, masked again or replaced, as an animation and a
contact sheet.

sampling.loop → Recorder (a callback) → Trajectory → cells → sheet, animation → FILE.gif and FILE-sheet.png
"""

from .animation import check_animation, save_trajectory, sheet_path
from .recorder import Recorder, Reveals, Trajectory, reveals

__all__ = ["Recorder", "Reveals", "Trajectory", "check_animation", "reveals", "save_trajectory", "sheet_path"]
