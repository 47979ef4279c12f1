"""A user's own arrays, tables and images, made a task.

- `arrays`: a user's own arrays: checked, divided, and made a task
- `array_files`: arrays and images from a user's files
- `array_names`: names under which inputs and labels of each split are known
- `channels`: where the channels of a user's images stand
- `class_names`: labels of many kinds as numbers of classes, with the classes' names
- `examples`: a torch Dataset as arrays
- `facts`: tasks of a user's own arrays, and the facts that a run keeps of them
- `kinds`: kinds of labels, and what options say of those of each head
- `labels`: of which kind labels are, by their numbers and their shape
- `tensors`: arrays as tensors on the CPU, checked
"""
