"""`python -m scansynth`: the command line, as `torchrun -m scansynth` starts it."""

from scansynth.cli import main

if __name__ == "__main__":
    main()
