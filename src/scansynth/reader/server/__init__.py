"""The server of a reader study: worklist, page and answers; it does not hold the truth."""
