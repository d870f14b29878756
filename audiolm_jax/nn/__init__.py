"""Building blocks shared by the models: sharding names, attention, convolution, stacks."""
