"""The uniform + absorbing D3PM process: schedule → process (corrupt) → posterior → loss. Pure tensor mathematics.

Notation, everywhere in this package: K codes, mask token m = K, t = 0 clean and t = 1 noise, s < t. Two survival
curves describe the process: g(t), not yet masked, and κ(t), not yet resampled from the K codes given not masked:

    q(x_t | x_0) = g κ e_{x_0} + g (1-κ) u + (1-g) e_m ,   u uniform on the K codes.
"""

from .loss import Terms, bound_terms, diffusion_loss, low_discrepancy_times
from .posterior import posterior_bias, posterior_logits, reverse_probabilities
from .process import Process
from .schedule import Schedule

__all__ = [
    "Process",
    "Schedule",
    "Terms",
    "bound_terms",
    "diffusion_loss",
    "low_discrepancy_times",
    "posterior_bias",
    "posterior_logits",
    "reverse_probabilities",
]
