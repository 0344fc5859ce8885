"""Two processes hold one codebook."""

from __future__ import annotations

import os
import subprocess
import sys

from helpers.paths import ROOT
from helpers.quantizers import SMALL
from helpers.tiny import free_port

PROCESSES = """
import sys, torch, torch.distributed as dist
from helpers.quantizers import SMALL, features, small
from d3pm_image.seeds import Share
from d3pm_image.tokenizer.quantizer import QuantizerModule

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank, report = dist.get_rank(), []

def run(config, parts, synchronize, seed):
    torch.manual_seed(0)
    quantizer = QuantizerModule(config, vectors_a_step=128, synchronize=synchronize)
    alone = QuantizerModule(config).eval()
    alone(features(config, 4, 8))
    quantizer.load_state_dict(alone.state_dict())
    quantizer.train()
    gradients = []
    share = lambda step: Share(parts.start, 2, step)
    for step in range(4):
        given = features(config, 2, 8, seed=10 + step)[parts].requires_grad_()
        torch.manual_seed(seed)
        quantized, _, loss = quantizer(given, share(step))
        gradients.append(torch.autograd.grad(quantized.square().mean() + loss, given)[0])
    return quantizer, torch.stack(gradients)

for name in SMALL:
    revive = {"revive_below": 0.0} if name in ("ema", "cosine") else {}
    config = small(name, **revive)
    shared, mine = run(config, slice(rank, rank + 1), True, rank)
    whole, expected = run(config, slice(0, 2), False, 0)
    # each process's mean over its half is averaged later, so its gradients are twice those of the whole
    torch.testing.assert_close(mine / 2, expected[:, rank:rank + 1], atol=2e-6, rtol=1e-3, msg=lambda m: f"{name}: {m}")
    for key, value in shared.state_dict().items():
        torch.testing.assert_close(value, whole.state_dict()[key], atol=1e-5, rtol=1e-4, msg=lambda m: f"{name} {key}: {m}")
    reviving = small(name, **({"revive_below": 0.9, "decay": 0.5} if revive else {}))
    revived, _ = run(reviving, slice(rank, rank + 1), True, rank)
    alike, _ = run(reviving, slice(0, 2), False, 0)
    for key, value in revived.state_dict().items():
        theirs = value.clone()
        dist.broadcast(theirs, 0)
        assert torch.equal(theirs, value), f"{name} {key} differs between processes"
        torch.testing.assert_close(value, alike.state_dict()[key], atol=1e-5, rtol=1e-4, msg=lambda m: f"{name} {key}: {m}")
    if revive:
        assert (revived.vq._codebook.cluster_size == 0.9 * 128 / 16).any(), "no code was revived"
    if rank == 0:  # the others do not take part: whatever waited for them would hang
        shared.eval()(features(config, 1, 8))
    report.append(name)
sys.stdout.write(" ".join(["same", *report]) + "\\n")  # in one piece: both write to one pipe
sys.stdout.flush()
dist.destroy_process_group()
"""


def test_two_processes_hold_one_codebook_and_the_gradients_of_one_process(tmp_path):
    """With different images and seeds on each; LFQ's entropy is that of the codes of both."""
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc_per_node",
        "2",
        "--master_port",
        free_port(),
        str(script),
    ]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    done = subprocess.run(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(" ".join(["same", *SMALL])) == 2
