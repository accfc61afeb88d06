"""The court: sets, floors, controls, verdicts."""
