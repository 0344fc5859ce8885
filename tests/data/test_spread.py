"""Numbers spread evenly over a range."""

from __future__ import annotations

import numpy as np
import pytest

from d3pm_image.data.spread import spread_over


@pytest.mark.parametrize("count", [1, 2, 5, 12, 17, 200, 60_000])
@pytest.mark.parametrize("most", [1, 2, 8, 12, 1000])
def test_both_ends_and_equal_gaps(count, most):
    chosen = spread_over(count, most)
    assert chosen[0] == 0 and (most == 1 or chosen[-1] == count - 1) and len(chosen) == min(count, most)
    gaps = np.diff(chosen)
    assert not len(gaps) or 0 <= gaps.max() - gaps.min() <= 1
