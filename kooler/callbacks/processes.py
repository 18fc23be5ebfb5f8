"""Which process of a distributed training speaks and writes: the first one, and no other."""

import os
import sys

import keras


def is_first_process() -> bool:
    """Whether this process is the only one, or the first of several.

    JAX counts its processes itself; PyTorch's are counted by `torch.distributed` or, before that is
    initialised, by the variable RANK of its launcher; TensorFlow is asked for its cluster.
    """
    return _number() == 0


def _number() -> int:
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return int(jax.process_index())
    if backend == "torch":
        distributed = sys.modules["torch"].distributed
        if distributed.is_available() and distributed.is_initialized():
            return int(distributed.get_rank())
        return int(os.environ.get("RANK", "0"))
    import tensorflow as tf

    resolver = tf.distribute.get_strategy().cluster_resolver
    task = None if resolver is None else resolver.task_id
    return int(task or 0)
