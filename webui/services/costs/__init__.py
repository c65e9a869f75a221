"""What a job will cost, learnt from the jobs of this machine."""
