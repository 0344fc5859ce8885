"""Failures of the machine as one-line messages: no memory, no space, another process that died."""

from __future__ import annotations

import errno
import re

MEMORY = (
    "defaultcpuallocator", "can't allocate memory", "cannot allocate memory", "out of memory",
    "std::bad_alloc", "unable to allocate",
    "failed to map segment", "not enough memory", "could not create a primitive", "can't start new thread",
)  # fmt: skip
PEERS = (
    "connection closed by peer",
    "connection reset by peer",
    "broken pipe",
    "socket timeout",
    "timed out",
    "nccl",
    "gloo",
    "recvvalue",
)
PEER_KINDS = {"DistBackendError", "DistNetworkError", "DistStoreError", "DistError"}
KNOWN = {"TrainingError", "LoaderError"}
SMALLER = (
    "use a smaller batch (training: train.batch_size, or the same in parts: train.accumulate), smaller images"
    " or a smaller network"
)


def in_words(error: Exception) -> str | None:
    """A message and hint for a failure, or None for an unknown one, for which the traceback is needed."""
    kind, text = type(error).__name__, " ".join(str(error).split())
    if kind in KNOWN:
        return text
    if is_memory(error):
        return f"out of memory{size_of(text)}; {SMALLER}, or end other programs"
    if isinstance(error, RuntimeError) and (kind in PEER_KINDS or is_peer(text)):
        ended = f"another process of this run has ended or cannot be reached ({first_sentence(text)})"
        return f"{ended}: look at what it said; then start all of them again (training: with --resume true)"
    if isinstance(error, OSError):
        return f"{text or kind}; check the path, the rights and the space left"
    return None


def is_memory(error: BaseException) -> bool:
    """Whether an error means that memory of the machine or its GPU is exhausted, in any library's wording."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    named = type(error).__name__ == "SafetensorError" or isinstance(error, RuntimeError | ImportError)
    return named and any(word in str(error).lower() for word in MEMORY)


def is_peer(text: str) -> bool:
    """Whether a RuntimeError comes from talking to another process."""
    lower = text.lower()
    return ("gloo" in lower or "nccl" in lower or "store" in lower or "peer" in lower) and any(
        word in lower for word in PEERS
    )


def size_of(text: str) -> str:
    """The requested size, if an error states it."""
    if found := re.search(r"tried to allocate (\d+) bytes", text):
        return f" ({int(found[1]) / 2**20:,.0f} MiB were asked for)"
    found = re.search(r"(?:tried|unable) to allocate ([\d.]+ [KMGTP]i?B)", text, re.IGNORECASE)
    return f" ({found[1]} were asked for)" if found else ""


def first_sentence(text: str) -> str:
    """The beginning of a library's message, without source locations."""
    return re.sub(r"\[[^\]]*\.(?:cc|cpp|h|hpp|cu):\d+\]\s*", "", text)[:160].strip(" .")
