"""`python -m hyperframe`, which torchrun starts: the command `hyperframe`."""

from hyperframe_launcher import main

main()
