"""The evidence: sets, floors, controls, verdicts; one question a file."""
