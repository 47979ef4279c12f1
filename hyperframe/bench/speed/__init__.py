"""The cost of parts of the work, beside plainer ways of doing them.

- `work`: one piece of work and the ways of doing it
- `of_training`: pieces of a training step
- `of_networks`: pieces of work on networks that are drawn
- `clock`: times calls on a device
- `floor`: what the operations must take at the least, and what they move
- `timings`: one piece of work measured
- `growth`: one piece of work measured for several values of one key
- `growth_page`: the same as a Markdown page and a picture
"""
