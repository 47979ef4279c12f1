"""Symmetries: from labels on the axes of parameters to orbits, random actions, and gauges.

- `structure`: labels on the axes of parameters: what symmetries are made of
- `from_spec`: written specs compiled to labels
- `stages`: labels of factors and signs, laid out layer by layer
- `propagate`: factors and signs in walks over the layers
- `orbits`: from labels to orbits; random symmetries and their action on weights
- `exact`: networks without epsilons, in float64: where symmetries hold to rounding
- `precision`: casts and new tensors in float64, whatever a forward asks for
- `mixing`: units that any invertible matrix may mix, as channels in a head of attention
- `sorting`: units that may change places, walked through layer by layer, and sorted
- `descent`: weight matching: units assigned to those of a reference network class by class, until none changes
- `matching`: units matched to those of a reference network by assignments
- `gauge`: several gauges as one
"""
