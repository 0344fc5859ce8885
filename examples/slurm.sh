#!/bin/bash
# Training and drawing under Slurm, on nodes of 8 GPUs that share a disk; not tried on a cluster yet.
#   sbatch examples/slurm.sh train-diffusion --config configs/imagenet256/diffusion.yaml --out /shared/runs/diffusion --resume true
#   sbatch examples/slurm.sh generate /shared/runs/diffusion --num-images 50000 --out /shared/samples.npz --resume true
# A job that runs out of time is queued again, and goes on where it was.
#SBATCH --nodes 2 --ntasks-per-node 1 --gpus-per-node 8 --cpus-per-task 64
#SBATCH --time 12:00:00 --signal B:USR1@400 --requeue
set -euo pipefail
export OMP_NUM_THREADS=8
host=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_JOB_NUM_NODES" --nproc_per_node 8 --rdzv_backend c10d --rdzv_endpoint "$host:29500" \
  --rdzv_id "$SLURM_JOB_ID" -m d3pm_image "$@" &
work=$!
# before the end: stop the work, which saves, and come again
trap 'kill -TERM $work; wait $work; scontrol requeue "$SLURM_JOB_ID"; exit 0' USR1
wait $work
