"""Noise schedules: two survival curves g(t) and κ(t), both 1 at t = 0 and non-increasing.

    a = g κ   still clean         b = g (1-κ)   carries a random code         c = 1 - g   masked

Every member of the family is a way to choose the two curves:

    ConstantShare       a set share w of the corrupted tokens is random at all times
    MutualInformation   the same, at the pace that loses information about the codes linearly in time
    Independent         masks and random codes each on a curve of its own
    Gidd                the hybrid marginals of generalized interpolating discrete diffusion

Pure absorbing is κ ≡ 1 (w = 0), pure uniform is g ≡ 1 (w = 1). Everything is float64: ratios of survival
probabilities near t = 0 lose all digits in float32.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, library

from ..config import ProcessConfig, check
from .curve import Curve

SOLVER_STEPS = 24


class Schedule:
    """Interface of all schedules. Times are float64 tensors of any shape with values in [0, 1]."""

    @property
    def absorbing(self) -> bool:
        """κ ≡ 1: no random codes."""
        return False

    @property
    def uniform(self) -> bool:
        """g ≡ 1: no masks."""
        return False

    def survival(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g(t) and κ(t), float64, of the shape of t."""
        raise NotImplementedError

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g'(t) and κ'(t), float64."""
        raise NotImplementedError

    def time_of_mask_share(self, share: Tensor) -> Tensor:
        """The time at which a share of the tokens is masked, 1 - g(t) = share, clamped to [0, 1]; float64.

        Samplers that choose their own number of masks (MaskGIT) use it to find the κ the denoiser was trained
        with at that number. A pure uniform schedule has no masks: time 0.
        """
        share = share.to(torch.float64)
        if self.uniform:
            return torch.zeros_like(share)
        low, high = torch.zeros_like(share), torch.ones_like(share)
        for _ in range(60):  # bisection: g is monotone
            middle = (low + high) / 2
            reached = 1 - self.survival(middle)[0] >= share
            low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
        return high


@dataclass(frozen=True)
class ConstantShare(Schedule):
    """A share w of the corrupted tokens carries a random code: with r(t) the share corrupted,

        g = 1 - (1-w) r,   κ = (1-r)/g

    Args:
        corruption: Name of the curve r(t), see :class:`~d3pm_image.diffusion.curve.Curve`.
        uniform_share: w in [0, 1]; 0 is pure absorbing, 1 pure uniform. VQ-Diffusion's text says 0.1; its
            released schedule has about 1e-6 and is mask-only in effect.
        power: Exponent of the polynomial curve.
        end: Share corrupted at t = 1; BERT's single step has 0.135.
        steps: T of the vq_diffusion curve.
    """

    corruption: str = "linear"
    uniform_share: float = 0.0
    power: float = 1.0
    end: float = 1.0
    steps: int = 0
    curve: Curve = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        hint = "give a share in [0, 1]"
        check(0 <= self.uniform_share <= 1, "process.uniform_share", self.uniform_share, hint)
        check(0 < self.end <= 1, "process.end", self.end, "give a share in (0, 1]; 1 ends in pure noise")
        object.__setattr__(self, "curve", Curve(self.corruption, self.power, self.steps))

    @property
    def absorbing(self) -> bool:
        """w = 0."""
        return self.uniform_share == 0

    @property
    def uniform(self) -> bool:
        """w = 1."""
        return self.uniform_share == 1

    def corrupted(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """r(t) and r'(t), float64."""
        return self.end * self.curve.value(t), self.end * self.curve.slope(t)

    def time_of(self, r: Tensor) -> Tensor:
        """The time at which a share r of the tokens is corrupted."""
        return self.curve.inverse(r / self.end)

    def survival(self, t: Tensor) -> tuple[Tensor, Tensor]:
        r, _ = self.corrupted(t)
        g = 1 - (1 - self.uniform_share) * r
        if self.absorbing:
            return g, torch.ones_like(g)
        return g, (1 - r) / g

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """g' = -(1-w) r' and κ' = -w r'/g²."""
        r, slope = self.corrupted(t)
        g = 1 - (1 - self.uniform_share) * r
        kappa_slope = torch.zeros_like(g) if self.absorbing else -slope * self.uniform_share / g.square()
        return -(1 - self.uniform_share) * slope, kappa_slope

    def time_of_mask_share(self, share: Tensor) -> Tensor:
        if self.uniform:
            return torch.zeros_like(share, dtype=torch.float64)
        return self.time_of(share.to(torch.float64) / (1 - self.uniform_share))


@dataclass(frozen=True)
class MutualInformation(ConstantShare):
    """I(x_t; x_0) = (1-t) H(x_0) (D3PM, section 3.2), for codes that are used equally often.

    With J(κ) = log K + (κ+ρ) log(κ+ρ) + (K-1) ρ log ρ the information that an unmasked token carries, r(t)
    solves g J(κ) = (1-t) log K. Pure absorbing gives r = t, D3PM's rate 1/(T-t+1).

    Args:
        uniform_share: w, as in :class:`ConstantShare`.
        num_codes: K.
    """

    num_codes: int = 2

    def information(self, r: Tensor) -> tuple[Tensor, Tensor]:
        """I(x_t; x_0) in nats when a share r is corrupted, and its derivative by r."""
        w, k = self.uniform_share, self.num_codes
        g = 1 - (1 - w) * r
        kappa = (1 - r) / g if w > 0 else torch.ones_like(r)
        rho = (1 - kappa) / k
        log_k = torch.log(torch.full((), float(k), dtype=torch.float64, device=r.device))
        of_code = log_k + torch.xlogy(kappa + rho, kappa + rho) + (k - 1) * torch.xlogy(rho, rho)
        by_kappa = (1 - 1 / k) * (torch.log(kappa + rho) - torch.log(rho.clamp_min(1e-300)))
        return g * of_code, -(1 - w) * of_code + (g * by_kappa * (-w / g.square()) if w > 0 else 0)

    def corrupted(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(torch.float64)
        if self.num_codes == 1 or self.absorbing:
            return t, torch.ones_like(t)
        r = corrupted_share(t, self.uniform_share, self.num_codes)
        total = self.information(torch.zeros((), dtype=torch.float64, device=t.device))[0]
        return r, -total / self.information(r.clamp(1e-15, 1 - 1e-9))[1]

    def time_of(self, r: Tensor) -> Tensor:
        r = r.clamp(0, 1)
        if self.num_codes == 1 or self.absorbing:
            return r
        return (1 - self.information(r)[0] / self.information(torch.zeros_like(r))[0]).clamp(0, 1)


@library.custom_op("d3pm_image::corrupted_share", mutates_args=())
def corrupted_share(t: Tensor, uniform_share: float, num_codes: int) -> Tensor:
    """r(t) of :class:`MutualInformation`: Newton's steps, kept inside a bracket that always shrinks. One
    operator to torch.compile."""
    schedule = MutualInformation(uniform_share=uniform_share, num_codes=num_codes)
    total = schedule.information(torch.zeros((), dtype=torch.float64, device=t.device))[0]
    low, high, r = torch.zeros_like(t), torch.ones_like(t), t.clone()
    for _ in range(SOLVER_STEPS):
        value, slope = schedule.information(r)
        excess = value - (1 - t) * total  # information only falls
        low, high = torch.where(excess > 0, r, low), torch.where(excess > 0, high, r)
        step = r - excess / slope
        r = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
    return torch.where(t <= 0, torch.zeros_like(t), torch.where(t >= 1, torch.ones_like(t), r))


@corrupted_share.register_fake
def _(t: Tensor, *_: object) -> Tensor:
    return torch.empty_like(t)


@dataclass(frozen=True)
class Independent(Schedule):
    """Masks and random codes each on a curve of its own: g = 1 - r₁(t), κ = 1 - u r₂(t).

    Args:
        mask: Curve r₁ of the share masked.
        scramble: Curve r₂ of the share of unmasked tokens that carries a random code.
        uniform_share: u, that share at t = 1.
        power: Exponent of polynomial curves.
    """

    mask: str = "linear"
    scramble: str = "linear"
    uniform_share: float = 1.0
    power: float = 1.0

    def __post_init__(self) -> None:
        hint = "give a share in [0, 1]"
        check(0 <= self.uniform_share <= 1, "process.uniform_share", self.uniform_share, hint)
        hint = "vq_diffusion has its own random codes"
        check("vq_diffusion" not in (self.mask, self.scramble), "process.scramble", self.scramble, hint)
        for name in (self.mask, self.scramble):
            Curve(name, self.power)

    @property
    def absorbing(self) -> bool:
        """u = 0."""
        return self.uniform_share == 0

    def survival(self, t: Tensor) -> tuple[Tensor, Tensor]:
        masked, scrambled = (Curve(name, self.power).value(t) for name in (self.mask, self.scramble))
        return 1 - masked, 1 - self.uniform_share * scrambled

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        masked, scrambled = (Curve(name, self.power).slope(t) for name in (self.mask, self.scramble))
        return -masked, -self.uniform_share * scrambled

    def time_of_mask_share(self, share: Tensor) -> Tensor:
        return Curve(self.mask, self.power).inverse(share)


@dataclass(frozen=True)
class Gidd(Schedule):
    """Hybrid marginals of GIDD (von Rütte et al. 2025) as a chain of this family: with c = B √(t(1-t)),

        a = (1-t)/(1+c),   b = c/(1+c),   so   g = 1 - t/(1+c),   κ = 1/(1 + B √(t/(1-t)))

    Random codes are most frequent at t = 1/2 and gone at both ends.

    Args:
        uniform_share: Share of random codes at t = 1/2, in (0, 1); B = 2 p/(1-p).
    """

    uniform_share: float = 0.1

    def __post_init__(self) -> None:
        hint = "give GIDD's share of random codes in (0, 1)"
        check(0 < self.uniform_share < 1, "process.uniform_share", self.uniform_share, hint)

    @property
    def amount(self) -> float:
        """B = 2 p/(1-p)."""
        return 2 * self.uniform_share / (1 - self.uniform_share)

    def survival(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(torch.float64)
        c = self.amount * (t * (1 - t)).clamp_min(0).sqrt()
        return 1 - t / (1 + c), 1 / (1 + self.amount * (t / (1 - t)).clamp_min(0).sqrt())

    def slopes(self, t: Tensor) -> tuple[Tensor, Tensor]:
        t = t.to(torch.float64).clamp(1e-30, 1 - 1e-12)
        root = (t * (1 - t)).sqrt()
        c, c_slope = self.amount * root, self.amount * (1 - 2 * t) / (2 * root)
        _, kappa = self.survival(t)
        return -(1 + c - t * c_slope) / (1 + c).square(), -kappa.square() * self.amount / (2 * root * (1 - t))


def make_schedule(config: ProcessConfig, num_codes: int) -> Schedule:
    """The schedule that a configuration names, for K = num_codes."""
    if config.corruption == "gidd":
        return Gidd(config.uniform_share)
    if config.corruption == "mutual_information":
        return MutualInformation(uniform_share=config.uniform_share, num_codes=num_codes)
    if config.scramble != "tied":
        return Independent(config.corruption, config.scramble, config.uniform_share, config.power)
    return ConstantShare(config.corruption, config.uniform_share, config.power, config.end, config.steps)
