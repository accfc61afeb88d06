"""Statistics of readings: intervals over readers and images, agreement, verdicts, plans."""
