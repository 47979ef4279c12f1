"""The machine below everything: memory, threads, random numbers, signals, files. Nothing here knows of networks.

- `memory`: memory that runs out: how it shows, and how much there is
- `threads`: threads that compute at the same time on a CPU
- `chunks`: work on many networks, some at a time, fewer where memory runs out
- `rng`: seeds of independent streams of random numbers
- `signals`: Ctrl-C and SIGTERM, noted so that a training can save first
- `distributed`: processes that train together: their shares, what they exchange, how they begin and end
- `progress`: how far long work has come, told to whoever listens; durations and counts in words
- `files`: files that are written whole or not at all, and checked when they are read
- `links`: links in a run folder, which nothing is written or removed through
- `precision`: arithmetic in which products are rounded: single precision, or a faster one
- `modes`: gradients, also where the caller has turned them off
- `terminal`: texts of other people with their control characters written out; which of several processes speaks
"""
