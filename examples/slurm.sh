#!/bin/bash
# Training and drawing under Slurm, on nodes of 8 GPUs that share a disk; not tried on a cluster yet.
#   sbatch examples/slurm.sh train-diffusion --config configs/imagenet256/diffusion.yaml --out /shared/runs/diffusion
#   sbatch examples/slurm.sh generate /shared/runs/diffusion --num-images 50000 --out /shared/samples.npz
# A job that is stopped or queued again goes on where it was.
#SBATCH --nodes 2 --ntasks-per-node 1 --gpus-per-node 8 --cpus-per-task 64
#SBATCH --time 12:00:00 --signal TERM@300 --requeue
set -euo pipefail
export OMP_NUM_THREADS=8
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint "$host:29500" \
  --rdzv_id "$SLURM_JOB_ID" -m d3pm_image "$@" --resume true
