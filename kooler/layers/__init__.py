"""The forward seam: tensors and masks on their way through a model."""

from kooler.layers.alignment import align_left, align_right, reverse_sequence
from kooler.layers.attention import Attention
from kooler.layers.bidirectional import MaskedBidirectional
from kooler.layers.check_masks import check_masks
from kooler.layers.clone import clone
from kooler.layers.conditional_normalization import ConditionalLayerNormalization
from kooler.layers.embedding_dense import EmbeddingDense
from kooler.layers.gradients import reverse_gradient, scale_gradient, stop_gradient
from kooler.layers.layer import Layer
from kooler.layers.masked_layers import (
    MaskedAveragePooling1D,
    MaskedConv1D,
    MaskedGlobalAveragePooling1D,
    MaskedGlobalMaxPooling1D,
    MaskedGroupNormalization,
    MaskedMaxPooling1D,
)
from kooler.layers.masks import masked_max, masked_mean, masked_softmax, sequence_mask
from kooler.layers.orthogonal import Orthogonal
from kooler.layers.parametrization import Parametrization
from kooler.layers.repair_masks import repair_masks
from kooler.layers.reparametrize import merge, reparametrize
from kooler.layers.simple_parametrizations import LowRank, Positive, Scale, Symmetric, UnitNorm
from kooler.layers.sparse_embedding import SparseEmbedding
from kooler.layers.spectral_norm import SpectralNorm
from kooler.layers.weight_norm import WeightNorm

__all__ = [
    "Attention",
    "ConditionalLayerNormalization",
    "EmbeddingDense",
    "Layer",
    "LowRank",
    "MaskedAveragePooling1D",
    "MaskedBidirectional",
    "MaskedConv1D",
    "MaskedGlobalAveragePooling1D",
    "MaskedGlobalMaxPooling1D",
    "MaskedGroupNormalization",
    "MaskedMaxPooling1D",
    "Orthogonal",
    "Parametrization",
    "Positive",
    "Scale",
    "SparseEmbedding",
    "SpectralNorm",
    "Symmetric",
    "UnitNorm",
    "WeightNorm",
    "align_left",
    "align_right",
    "check_masks",
    "clone",
    "masked_max",
    "masked_mean",
    "masked_softmax",
    "merge",
    "repair_masks",
    "reparametrize",
    "reverse_gradient",
    "reverse_sequence",
    "scale_gradient",
    "sequence_mask",
    "stop_gradient",
]
