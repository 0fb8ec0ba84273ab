#!/bin/bash
# Two nodes of eight GPUs, requeued at the time limit until training is over:
#
#   sbatch examples/slurm.sh --data.root /datasets/imagenet/train --data.labeled_val /datasets/imagenet/val
#
# Two minutes before the limit SLURM sends SIGUSR1 to every process. Lightning's SLURM plugin takes it, saves a
# checkpoint in default_root_dir and requeues the job, which goes on from there. On a cluster without requeueing
# (--no-requeue), sslbolts' own SaveOnSignal takes the signal instead if the plugin is told not to,
#   --trainer.plugins SLURMEnvironment --trainer.plugins.auto_requeue false
# and prints the command that goes on. To stop early with a checkpoint: scancel --signal=TERM JOBID.
#SBATCH --job-name=simclr
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=8
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=8
#SBATCH --time=24:00:00
#SBATCH --signal=SIGUSR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

set -euo pipefail

# The number of tasks of a node is the number of its devices, of which srun starts one process each.
srun --kill-on-bad-exit=1 sslbolts fit --config simclr_imagenet \
  --trainer.num_nodes 2 --trainer.devices 8 --trainer.strategy ddp --trainer.sync_batchnorm true \
  --trainer.default_root_dir runs/simclr_imagenet "$@"
