"""Commands and pipelines keep freed memory: a block taken again costs no fresh pages, unless the environment has chosen otherwise."""

import os
import platform
import subprocess
import sys

import pytest

from d3pm_image.system.allocator import CHOICES

PROGRAM = """
import ctypes, resource, sys
{first}

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def faults(blocks):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(blocks):
        block = libc.malloc(ctypes.c_size_t(64 * 2**20))
        ctypes.memset(block, 1, 64 * 2**20)
        libc.free(ctypes.c_void_p(block))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

done = {done}
faults(2)
print(done, faults(4))
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")


def run(
    first: str = "from d3pm_image.system.allocator import keep_memory",
    done: str = "keep_memory()",
    **environment: str,
) -> tuple[str, int]:
    clean = {name: value for name, value in os.environ.items() if name not in CHOICES}
    program = PROGRAM.format(first=first, done=done)
    output = subprocess.run(
        [sys.executable, "-c", program], env=clean | environment, capture_output=True, text=True, check=True
    )
    done, faults = output.stdout.split()
    return done, int(faults)


@glibc
def test_memory_taken_again_costs_no_pages():
    done, faults = run()
    _, asked_anew = run(MALLOC_MMAP_THRESHOLD_="1048576")
    assert done == "True"
    assert faults < asked_anew / 4  # four blocks, each of which would be asked for anew


@glibc
def test_the_environment_has_the_last_word():
    done, _ = run(MALLOC_MMAP_THRESHOLD_="1048576")
    assert done == "False"


@pytest.mark.slow
@glibc
def test_a_pipeline_in_a_program_keeps_it_too():
    load = "bool(Pipeline.from_pretrained('fashion-mnist'))"
    done, faults = run("from d3pm_image import Pipeline", load)
    _, asked_anew = run("from d3pm_image import Pipeline", load, MALLOC_MMAP_THRESHOLD_="1048576")
    assert done == "True" and faults < asked_anew / 4
