"""Blocks that several methods share: warps, resizes, residual and dense blocks, flow networks."""

from fvsr_bench.nn.blocks import RDB, ResidualBlock, zero_
from fvsr_bench.nn.frame_recurrent import FNet, FrameRecurrent
from fvsr_bench.nn.ofrnet import OFRnet
from fvsr_bench.nn.ofrnet_tip import ShuffleOFRnet, ShuffleReconstruction
from fvsr_bench.nn.ops import (
    autocast_type,
    drafts,
    join_luma,
    neighbours,
    space_to_depth,
    split_luma,
    upsample,
    warp,
)

__all__ = [
    "RDB",
    "FNet",
    "FrameRecurrent",
    "OFRnet",
    "ResidualBlock",
    "ShuffleOFRnet",
    "ShuffleReconstruction",
    "autocast_type",
    "drafts",
    "join_luma",
    "neighbours",
    "space_to_depth",
    "split_luma",
    "upsample",
    "warp",
    "zero_",
]
