"""Keys and values that stay where they were written, and who may read them.

In a beam search the hypothesis at place k of a step often continues one that was at another place.
Its cache can follow it, which moves every key and value of every layer at every step.  Or the cache
stays and each hypothesis remembers, for each earlier step, at which of the K places its ancestor
stood:

    place k reads what place j wrote at step t   ⇔   ancestors[b, k, t] = j .

Then K places of T steps are looked at instead of T, which for the few tokens of a title is far less
work than moving them; what is not an ancestor's gets no weight, so the result is the same.
"""

from typing import Any, NamedTuple

from keras import ops

from kooler.core.placing import placed
from kooler.core.types import Tensor

NOBODY = -1  # of a step that is not written yet


class Ancestry(NamedTuple):
    """The state of a search that leaves its caches in place."""

    caches: list[Any]  # of the layers, with `slots` and `grown`; K·C slots a step follow each other
    ancestors: Tensor  # int32 [B, K, steps]

    def followed(self, parent: Tensor) -> "Ancestry":
        """The state when place k goes on with what was at place `parent[b, k]`."""
        shape = (*parent.shape, self.ancestors.shape[2])
        index = ops.broadcast_to(parent[..., None], shape)
        return self._replace(ancestors=ops.take_along_axis(self.ancestors, index, axis=1))

    def written(self, time: Tensor) -> "Ancestry":
        """The state in which every place has written step `time` itself."""
        batch, places, _ = self.ancestors.shape
        own = ops.broadcast_to(ops.arange(places, dtype="int32")[None, :, None], (batch, places, 1))
        return self._replace(ancestors=placed(self.ancestors, own, time, 2))

    def grown(self, steps: int) -> "Ancestry":
        """The state with room for `steps` steps."""
        batch, places, before = self.ancestors.shape
        later = nobody_yet(batch, places, steps - before)
        ancestors = ops.concatenate([self.ancestors, later], axis=2)
        caches = [cache.grown(cache.slots // before * steps) for cache in self.caches]
        return Ancestry(caches, ancestors)

    def readable(self, per_step: int) -> Tensor:
        """Who may read what: bool [B, 1, K·C, steps·K·C] for steps of C tokens."""
        batch, places, steps = self.ancestors.shape
        theirs = ops.equal(self.ancestors[..., None], ops.arange(places, dtype="int32"))
        if per_step > 1:
            theirs = ops.repeat(ops.repeat(theirs, per_step, axis=1), per_step, axis=3)
        places *= per_step
        return ops.reshape(theirs, (batch, 1, places, steps * places))


def nobody_yet(batch: int, places: int, steps: int) -> Tensor:
    """The ancestors before the first step, int32 [B, K, steps]."""
    return ops.full((batch, places, steps), NOBODY, dtype="int32")
