"""Images made elsewhere: loose folders and other sources' sets, brought to a cohort's size and scale."""
