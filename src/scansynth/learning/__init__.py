"""What every training shares: device, checkpoints, trackers."""
