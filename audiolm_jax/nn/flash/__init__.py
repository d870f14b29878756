"""Block-wise exact attention: kernels, their cost, and the module that calls them."""
