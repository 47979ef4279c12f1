"""Networks with weights: the pass of a whole batch, generators, drawn networks in memory and in files.

- `target`: the forward pass of a batch of networks; BatchNorm's statistics
- `passes`: how a module runs with the weights of many networks
- `generator`: the base class of generators; the latent distribution; initial variances
- `groups`: a generator's groups of parameters, checked before an optimiser is made of them
- `dense`: fully connected stacks and their initialisation
- `hypernetwork`: the paper's extractor and weight generators
- `prior`: fixed random functions that are added to a network's outputs, and a generator that draws them
- `sampled`: drawn networks: predictions, votes, single modules
- `conformal`: sets of classes and intervals of values that drawn networks predict with a chosen coverage
- `storage`: drawn networks as files
- `ensemble`: drawn networks as one module
- `programs`: ensembles as programs of torch.export and ONNX
"""

from hyperframe.networks.generator import LatentOptions, TrainingOptions, initial_mean, initial_std, initial_weights
from hyperframe.networks.target import Target

__all__ = ["LatentOptions", "Target", "TrainingOptions", "initial_mean", "initial_std", "initial_weights"]
