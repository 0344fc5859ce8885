"""Every sampler with settings, and denoisers whose distribution is known."""

from __future__ import annotations

import torch

from d3pm_image.diffusion import ConstantShare, Kernel, Process
from d3pm_image.sampling.loop import sample
from helpers.asking import asked
from helpers.reference import exponential

SAMPLERS = [
    {"sampler": "confidence"}, {"sampler": "entropy"}, {"sampler": "margin", "reveal": "square"}, {"sampler": "halton", "reveal": "arccos"},
    {"sampler": "halton", "roll": True}, {"sampler": "ancestral"}, {"sampler": "purity", "gumbel": 1.0}, {"sampler": "first_hitting"},
    {"sampler": "ctmc", "eta": 0.0}, {"sampler": "ctmc", "eta": 2.0}, {"sampler": "ctmc", "form": "euler", "eta": 1.0},
    {"sampler": "ctmc", "form": "tau"}, {"sampler": "renoise", "eta": 0.5}, {"sampler": "remask", "eta": 0.3},
    {"sampler": "remask", "strategy": "rescale", "eta": 0.4}, {"sampler": "remask", "strategy": "confidence"},
    {"sampler": "remask", "strategy": "loop", "eta": 0.05}, {"sampler": "predictor_corrector", "eta": 1.0},
    {"sampler": "ancestral", "guidance": 2.0, "guidance_schedule": "cosine", "guidance_from": 0.2, "top_k": 4, "top_p": 0.9},
]  # fmt: skip


def named(settings: dict) -> str:
    return "-".join(str(v) for v in settings.values())


def at(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


class ExactDenoiser:
    """The optimal leave-one-out denoiser of an enumerable distribution over N tokens of K codes."""

    def __init__(self, data: torch.Tensor, codes: int, tokens: int, kernel: Kernel | None = None):
        self.data, self.k, self.n, self.kernel = data, codes, tokens, kernel
        self.grid = torch.cartesian_prod(*[torch.arange(codes)] * tokens).view(-1, tokens)
        self.calls = 0

    def __call__(self, x_t, kappa, labels, grid, where=None):
        """Many images show few states: each is worked out once for each κ."""
        self.calls += 1
        kinds, kind = kappa.unique(return_inverse=True)
        powers = (self.k + 1) ** torch.arange(self.n)
        states = (self.k + 1) ** self.n
        keys, key = (x_t @ powers + states * kind).unique(return_inverse=True)
        return self.exact(keys[:, None] // powers % (self.k + 1), kinds[keys // states])[key]

    def exact(self, x_t: torch.Tensor, kappa: torch.Tensor) -> torch.Tensor:
        """Logits (B, N, K) of states (B, N), each at its own κ."""
        # evidence of one token for each code: mask says nothing, an unmasked token κ 1[v=i] + (1-κ)/K, or M[i, v]
        rho = ((1 - kappa) / self.k)[:, None, None]
        masked = (x_t == self.k)[..., None]
        codes = torch.arange(self.k)
        evidence = torch.where(
            masked, torch.ones(()).double(), kappa[:, None, None] * (x_t[..., None] == codes) + rho
        )
        if self.kernel is not None:
            table = torch.stack(
                [
                    exponential(torch.from_numpy(self.kernel.generator), float(x))
                    for x in self.kernel.time(kappa)
                ]
            )
            seen = table[torch.arange(len(x_t))[:, None], x_t.clamp_max(self.k - 1)]
            evidence = torch.where(masked, torch.ones(()).double(), seen)
        likelihood = torch.stack(
            [evidence[:, i][:, self.grid[:, i]] for i in range(self.n)], 1
        )  # (B, N, states)
        out = torch.empty(*x_t.shape, self.k, dtype=torch.float64)
        for i in range(self.n):
            others = likelihood[:, [j for j in range(self.n) if j != i]].prod(1) * self.data
            for c in range(self.k):
                out[:, i, c] = others[:, self.grid[:, i] == c].sum(-1)
        return out.clamp_min(1e-300).log()


def toy(share: float, seed: int = 0, kernel: Kernel | None = None):
    data = torch.softmax(
        2.5 * torch.randn(27, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), 0
    )
    process = Process(3, ConstantShare("linear", share), 0, kernel=kernel)
    return data, process, ExactDenoiser(data, 3, 3, kernel)


def drawn(process, denoiser, n, known=None, unknown=None, seed=0, **settings):
    labels = torch.zeros(n, dtype=torch.long)
    return sample(
        denoiser, process, asked(**settings), labels, 0, (1, 3), FastStreams(n, seed), known, unknown
    )


class FastStreams:
    """One generator for all images: distribution tests need many images, not their independence of the batch."""

    def __init__(self, count, seed):
        self.count, self.generator = count, torch.Generator().manual_seed(seed)

    def take(self, images):
        part = FastStreams(len(images), 0)
        part.generator = self.generator
        return part

    def uniform(self, *shape):
        return torch.rand(self.count, *shape, dtype=torch.float64, generator=self.generator)


def variation(x: torch.Tensor, data: torch.Tensor) -> float:
    """Total variation distance of drawn states from the data distribution."""
    index = x[:, 0] * 9 + x[:, 1] * 3 + x[:, 2]
    return float((torch.bincount(index, minlength=27).double() / len(x) - data).abs().sum() / 2)


def noise_denoiser(codes):
    def predict(x_t, kappa, labels, grid, where=None):
        # depends on the tokens of the image alone, as a network does
        seedless = torch.sin(
            torch.arange(codes) * 1.7
            + x_t.double()[..., None] * 0.9
            + x_t.double().sum(1)[:, None, None]
            + labels[:, None, None]
        )
        return (3 * seedless).float()

    return predict
