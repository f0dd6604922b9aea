"""Commands that are more than a call of something else."""
