"""Every layer under its name, for those who build networks: ``from corecur.layers import Conv2D``.

``LAYERS`` is the literal table of them: what a model file may name.
"""

from __future__ import annotations

from corecur.layers.activation import ELU, Activation, LeakyReLU, PReLU, ReLU, Softmax
from corecur.layers.additive_attention import AdditiveAttention
from corecur.layers.attention_pooling import AttentionPooling
from corecur.layers.bidirectional import Bidirectional
from corecur.layers.character_encoder import CharacterEncoder
from corecur.layers.conv import Conv1D, Conv2D, Conv3D
from corecur.layers.conv_lstm import ConvLSTM2D
from corecur.layers.conv_transpose import Conv1DTranspose, Conv2DTranspose, Conv3DTranspose
from corecur.layers.crf import CRF
from corecur.layers.cropping import Cropping1D, Cropping2D, Cropping3D
from corecur.layers.dense import Dense
from corecur.layers.depthwise_conv import DepthwiseConv1D, DepthwiseConv2D
from corecur.layers.dot_attention import DotAttention
from corecur.layers.dropout import (
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from corecur.layers.embedding import Embedding
from corecur.layers.embedding_bag import EmbeddingBag
from corecur.layers.gru import GRU, GRUCell
from corecur.layers.layer import Layer
from corecur.layers.logarithm import Logarithm
from corecur.layers.lstm import LSTM, LSTMCell
from corecur.layers.masking import Masking
from corecur.layers.merge import Add, Average, Concatenate, Dot, Maximum, Minimum, Multiply, Subtract
from corecur.layers.multi_head_attention import MultiHeadAttention
from corecur.layers.norm import BatchNormalization, GroupNormalization, LayerNormalization
from corecur.layers.ordered_quantiles import OrderedQuantiles
from corecur.layers.pool import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from corecur.layers.positional import PositionalEncoding, PositionEmbedding
from corecur.layers.rescaling import Rescaling
from corecur.layers.reversible import ReversibleNormalization, WindowStatistics
from corecur.layers.rnn import RNN
from corecur.layers.separable_conv import SeparableConv1D, SeparableConv2D
from corecur.layers.shape import Flatten, Permute, Reshape
from corecur.layers.simple_rnn import SimpleRNN, SimpleRNNCell
from corecur.layers.stacked_cells import StackedRNNCells
from corecur.layers.time_distributed import TimeDistributed
from corecur.layers.up_sampling import UpSampling1D, UpSampling2D, UpSampling3D
from corecur.layers.zero_padding import ZeroPadding1D, ZeroPadding2D, ZeroPadding3D
from corecur.names import Table

LAYERS: Table[type[Layer]] = Table(
    "layer",
    {
        "Activation": Activation,
        "Add": Add,
        "AdditiveAttention": AdditiveAttention,
        "AttentionPooling": AttentionPooling,
        "Average": Average,
        "AveragePooling1D": AveragePooling1D,
        "AveragePooling2D": AveragePooling2D,
        "AveragePooling3D": AveragePooling3D,
        "BatchNormalization": BatchNormalization,
        "Bidirectional": Bidirectional,
        "CRF": CRF,
        "CharacterEncoder": CharacterEncoder,
        "Concatenate": Concatenate,
        "Conv1D": Conv1D,
        "Conv1DTranspose": Conv1DTranspose,
        "Conv2D": Conv2D,
        "Conv2DTranspose": Conv2DTranspose,
        "Conv3D": Conv3D,
        "Conv3DTranspose": Conv3DTranspose,
        "ConvLSTM2D": ConvLSTM2D,
        "Cropping1D": Cropping1D,
        "Cropping2D": Cropping2D,
        "Cropping3D": Cropping3D,
        "Dense": Dense,
        "DepthwiseConv1D": DepthwiseConv1D,
        "DepthwiseConv2D": DepthwiseConv2D,
        "Dot": Dot,
        "DotAttention": DotAttention,
        "Dropout": Dropout,
        "ELU": ELU,
        "Embedding": Embedding,
        "EmbeddingBag": EmbeddingBag,
        "Flatten": Flatten,
        "GRU": GRU,
        "GRUCell": GRUCell,
        "GaussianDropout": GaussianDropout,
        "GaussianNoise": GaussianNoise,
        "GlobalAveragePooling1D": GlobalAveragePooling1D,
        "GlobalAveragePooling2D": GlobalAveragePooling2D,
        "GlobalAveragePooling3D": GlobalAveragePooling3D,
        "GlobalMaxPooling1D": GlobalMaxPooling1D,
        "GlobalMaxPooling2D": GlobalMaxPooling2D,
        "GlobalMaxPooling3D": GlobalMaxPooling3D,
        "GroupNormalization": GroupNormalization,
        "LSTM": LSTM,
        "LSTMCell": LSTMCell,
        "LayerNormalization": LayerNormalization,
        "LeakyReLU": LeakyReLU,
        "Logarithm": Logarithm,
        "Masking": Masking,
        "MaxPooling1D": MaxPooling1D,
        "MaxPooling2D": MaxPooling2D,
        "MaxPooling3D": MaxPooling3D,
        "Maximum": Maximum,
        "Minimum": Minimum,
        "MultiHeadAttention": MultiHeadAttention,
        "Multiply": Multiply,
        "OrderedQuantiles": OrderedQuantiles,
        "PReLU": PReLU,
        "Permute": Permute,
        "PositionEmbedding": PositionEmbedding,
        "PositionalEncoding": PositionalEncoding,
        "RNN": RNN,
        "ReLU": ReLU,
        "Rescaling": Rescaling,
        "Reshape": Reshape,
        "ReversibleNormalization": ReversibleNormalization,
        "SeparableConv1D": SeparableConv1D,
        "SeparableConv2D": SeparableConv2D,
        "SimpleRNN": SimpleRNN,
        "SimpleRNNCell": SimpleRNNCell,
        "Softmax": Softmax,
        "SpatialDropout1D": SpatialDropout1D,
        "SpatialDropout2D": SpatialDropout2D,
        "SpatialDropout3D": SpatialDropout3D,
        "StackedRNNCells": StackedRNNCells,
        "Subtract": Subtract,
        "TimeDistributed": TimeDistributed,
        "UpSampling1D": UpSampling1D,
        "UpSampling2D": UpSampling2D,
        "UpSampling3D": UpSampling3D,
        "WindowStatistics": WindowStatistics,
        "ZeroPadding1D": ZeroPadding1D,
        "ZeroPadding2D": ZeroPadding2D,
        "ZeroPadding3D": ZeroPadding3D,
    },
    aliases={"Attention": "DotAttention"},  # Keras' name
)

__all__ = [
    "Activation",
    "Add",
    "AdditiveAttention",
    "AttentionPooling",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AveragePooling3D",
    "BatchNormalization",
    "Bidirectional",
    "CRF",
    "CharacterEncoder",
    "Concatenate",
    "Conv1D",
    "Conv1DTranspose",
    "Conv2D",
    "Conv2DTranspose",
    "Conv3D",
    "Conv3DTranspose",
    "ConvLSTM2D",
    "Cropping1D",
    "Cropping2D",
    "Cropping3D",
    "Dense",
    "DepthwiseConv1D",
    "DepthwiseConv2D",
    "Dot",
    "DotAttention",
    "Dropout",
    "ELU",
    "Embedding",
    "EmbeddingBag",
    "Flatten",
    "GRU",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAveragePooling3D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GlobalMaxPooling3D",
    "GroupNormalization",
    "LAYERS",
    "LSTM",
    "LSTMCell",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Logarithm",
    "Masking",
    "MaxPooling1D",
    "MaxPooling2D",
    "MaxPooling3D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "OrderedQuantiles",
    "PReLU",
    "Permute",
    "PositionEmbedding",
    "PositionalEncoding",
    "RNN",
    "ReLU",
    "Rescaling",
    "Reshape",
    "ReversibleNormalization",
    "SeparableConv1D",
    "SeparableConv2D",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "SpatialDropout3D",
    "StackedRNNCells",
    "Subtract",
    "TimeDistributed",
    "UpSampling1D",
    "UpSampling2D",
    "UpSampling3D",
    "WindowStatistics",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "ZeroPadding3D",
]
