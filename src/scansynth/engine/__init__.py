"""Where independent jobs run: processes on this machine, or Ray."""
