"""From source files to images on one grid: what lies there, what makes a case, how it is turned and cleaned."""
