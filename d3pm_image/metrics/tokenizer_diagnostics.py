"""Problems of a tokenizer, found in the measures of
:func:`~d3pm_image.metrics.reconstruction.reconstruction_error`."""

from __future__ import annotations

from ..config import TokenizerConfig

# share of the codes that could be used: in use at all, and by perplexity
FEW_CODES, FEW_EVEN_CODES = 0.3, 0.1
FLAT, CLIPPED = 0.5, 0.2


def warnings_of(values: dict[str, float], config: TokenizerConfig, images: int) -> list[str]:
    """One line per problem, ending with what to change; empty for a healthy tokenizer.

    Args:
        values: Measured on held-out images.
        config: Of the tokenizer.
        images: How many images were measured.
    """
    found = []
    reachable = max(2, min(config.num_codes, int(values["codes_per_image"] * images / 4)))
    if values["codes_used"] < FEW_CODES * reachable or values["perplexity"] < FEW_EVEN_CODES * reachable:
        found.append(
            f"the codebook has collapsed: {values['codes_used']:.0f} of {config.num_codes} codes are used, as"
            f" evenly as {values['perplexity']:.0f} would be; {config.quantizer.collapse_hint()}"
        )
    if values["contrast"] < FLAT:
        found.append(
            f"reconstructions are flat: they differ from image to image {values['contrast']:.0%} as much as"
            " the images do; train longer, or at another train.learning_rate"
        )
    if values["clipped"] > CLIPPED:
        found.append(
            f"reconstructions are clipped: {values['clipped']:.0%} more of their pixels are pure black or"
            " full than of the images; lower train.learning_rate, or loss.adversarial.weight if it is on"
        )
    return found
