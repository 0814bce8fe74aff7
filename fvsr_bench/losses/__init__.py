"""Training losses: pure functions and frozen judges, each with formula, units and reduction."""

from fvsr_bench.losses.adversarial import (
    FrameDiscriminator,
    TemporalDiscriminator,
    discriminator_loss,
    feature_distance,
    generator_loss,
    ping_pong,
)
from fvsr_bench.losses.pixel import REGIONS, mse, organ, region_masks
from fvsr_bench.losses.vector import face_vector, vgg

__all__ = [
    "REGIONS",
    "FrameDiscriminator",
    "TemporalDiscriminator",
    "discriminator_loss",
    "face_vector",
    "feature_distance",
    "generator_loss",
    "mse",
    "organ",
    "ping_pong",
    "region_masks",
    "vgg",
]
