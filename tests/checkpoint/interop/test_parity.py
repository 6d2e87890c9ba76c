"""Every known codebase's file gives what that codebase's own network gives, within 1e-4 of the largest value."""

import pytest
import torch

import fullrank

TOLERANCE = 1e-4
FILES = {
    "barlowtwins_full": ("barlow_twins", "Barlow Twins"),
    "byol_port_sthalles_resnet18": ("byol_sthalles", "BYOL"),
    "byol_port_yaox12_resnet50": ("byol_yaox12", "BYOL"),
    "coclr_s3d": ("coclr", "CoCLR or InfoNCE"),
    "coclr_s3dg": ("coclr", "CoCLR or InfoNCE"),
    "dino_vits16_backbone": ("dino_backbone", "DINO"),
    "dino_vits16_full": ("dino", "DINO"),
    "dpc_resnet18": ("dpc", "DPC"),
    "dpc_resnet34": ("dpc", "DPC"),
    "moco_v2_resnet50": ("moco", "MoCo v2"),
    "moco_v3_resnet50": ("moco_v3", "MoCo v3"),
    "moco_v3_vit_small": ("moco_v3", "MoCo v3"),
    "pytorchvideo_slow_r50": ("pytorchvideo", "supervised"),
    "resnet50_torchvision": ("torchvision", "supervised"),
    "simsiam_resnet50": ("simsiam", "SimSiam"),
    "slowfast_linear_k400": ("pyslowfast", "supervised, or a linear evaluation"),
    "slowfast_ssl_byol": ("pyslowfast_contrastive", "BYOL"),
    "slowfast_ssl_moco": ("pyslowfast_contrastive", "MoCo"),
    "slowfast_ssl_simclr": ("pyslowfast_contrastive", "SimCLR"),
    "slowfast_ssl_swav": ("pyslowfast_contrastive", "SwAV"),
    "svt_timesformer": ("svt", "SVT"),
    "swav_resnet50": ("swav", "SwAV"),
    "torchvision_r2plus1d_18": ("torchvision_r2plus1d", "supervised"),
    "vicreg_full": ("vicreg", "VICReg"),
    "vicreg_resnet50_backbone": ("torchvision", "a backbone alone (VICReg's, Barlow Twins' or another's)"),
    "videomae_vit_small": ("videomae", "VideoMAE"),
    "vjepa_vit_tiny": ("vjepa", "V-JEPA"),
}
SMALLER = {
    "representation_160x128": (slice(None), slice(160), slice(128)),
    "representation_4f_160x128": (slice(4), slice(160), slice(128)),
    "representation_8f_160x160": (slice(8), slice(160), slice(160)),
}
"""outputs for a part of the input, which needs interpolated positions"""
NOT_OURS = {"masked_pixels_first"}
"""VideoMAE's decoder is dropped"""


@pytest.mark.parametrize("name", FILES)
def test_outputs_are_the_codebases_own(name, fixture) -> None:
    made = fixture(name)
    encoder = fullrank.load(made.file)
    assert (encoder.found.layout.name, encoder.found.method) == FILES[name]
    assert encoder.found.certainty.startswith("certain")
    assert (encoder.found.caution is None) == (name != "dpc_resnet18")
    pixels = made.pixels()
    out = encoder(pixels)
    assert out.embedding_is_normalized == ("embedding_raw" in made.expected.files)
    stages = [output for output in made.expected.files if output.startswith("stage_mean")]
    for output in made.expected.files:
        if output in stages or output in NOT_OURS:
            continue
        if output in SMALLER:
            got = encoder(pixels[(slice(None), slice(None), *SMALLER[output])]).representation
        elif output in ("representation", "embedding", "embedding_raw"):
            got = getattr(out, output)
        else:
            got = out.extras[output]
        assert made.error(output, got) <= TOLERANCE, output
    if stages:  # the first that diverged would show where
        with torch.no_grad():
            maps = list(encoder.backbone.maps(pixels).values())
        for stage, ours in zip(stages[-len(maps) :], maps, strict=True):
            assert made.error(stage, ours.mean((2, 3, 4))) <= TOLERANCE, stage
