"""Other frameworks beside jitprop: the same networks, the same batches, one run in which they take turns.

    python -m benchmarks.peers --threads 1 --networks six

See README.md here. Nothing in this package imports a framework before the worker that runs it asks for it.
"""
