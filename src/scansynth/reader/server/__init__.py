"""The worklist of a reader study: the server, the page, the answers; it knows no truth."""
