"""Tasks: data with a loss and metrics.

- `classification`: the base class of classification tasks; the meter of networks and ensembles
- `regression`: the base class of regression tasks; their meter
- `gaussian_regression`: regression with a Gaussian likelihood; its meter
- `standardisation`: values shifted and scaled by the moments of training data
- `input_statistics`: the inputs of a training in a few numbers, compared with others
- `originals`: data sets that others published, the folder in which they lie, the base class of tasks on them
- `augmentation`: training images moved at random
- `term_inputs`: inputs on which diversity terms compare networks
- `calibration`: how well probabilities fit what happens: likelihood, Brier score, calibration error, temperature
- `confusion`: how often a class is the label and another the answer; overlap of labels with answers
- `conformal`: sets of classes and intervals of values that hold the label with a chosen probability
- `checked`: a task's attributes and its data, checked to be what the task says they are
- `own_data`: a user's own arrays, tables and images, made a task
- `structured`: base classes of tasks whose outputs are not one vector
"""
