"""What leaves the institution: the gate, the release folder, its signature, and its verification elsewhere."""
