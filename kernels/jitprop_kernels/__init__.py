"""Kernels of the L-layer fully connected network, three times: `loops`, `vectorized`, `jit`.

Arrays in, arrays out; examples are columns. Import a set by its module: ``from jitprop_kernels import vectorized``.
`contract` says what a set offers; `composition` completes a set that offers only some of it.
"""
