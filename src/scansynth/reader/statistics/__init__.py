"""What readings come to: intervals over readers and images, agreement, verdicts, plans; no files but its own tables."""
