"""An encoder from a file of another codebase: ``fullrank.load("SimCLR_SlowR50_8x8_T2_epoch_00200.pth")``."""

from pathlib import Path

import torch
from torch import Tensor, nn

from fullrank.backbones.resnet import to_channels_last
from fullrank.checkpoint.device import check_device
from fullrank.checkpoint.encoding import Encoding
from fullrank.checkpoint.interop._settings import read_yaml
from fullrank.checkpoint.interop.identify import Identified, identify
from fullrank.checkpoint.reading import is_safetensors, read_head, read_safetensors
from fullrank.checkpoint.save import hash_of_tensors
from fullrank.data.open import open_source
from fullrank.data.positions import positions
from fullrank.data.source import Source
from fullrank.data.sources.single import SingleSource, is_single
from fullrank.errors import CheckpointError, SettingError, did_you_mean
from fullrank.types import Clip, Preparation
from fullrank.views.prepare import prepare

OWN = "own"
"""the branch that the codebase evaluates"""


class ImportedEncoder:
    """A network of another codebase, ready to encode, with that codebase's way of preparing videos and images."""

    def __init__(self, found: Identified):
        self.found, self.network, self.preparation = found, found.network.eval(), found.preparation
        self.name = f"{found.method} ({found.path.name})"
        self.checkpoint_hash = hash_of_tensors(self.network.state_dict())

    @property
    def backbone(self) -> nn.Module:
        """The network that is kept: an ordinary module."""
        return self.network.backbone  # type: ignore[return-value]

    @property
    def branches(self) -> tuple[str, ...]:
        """The codebase's own choice, and the second copy where the file holds one (momentum, target, student, context)."""
        return (OWN,) if self.network.second is None else (OWN, str(self.network.second_name))

    def branch(self, name: str | None) -> nn.Module:
        """The network of a branch, its heads with it; ``SettingError`` for one that the file does not hold."""
        if name is not None and name not in self.branches:
            near = did_you_mean(name, self.branches)
            raise SettingError(f"branch must be one of {', '.join(self.branches)} for this file. Got '{name}'.{near}")
        return self.network if name in (None, OWN) else self.network.second  # type: ignore[return-value]

    def backbone_of(self, branch: str | None) -> nn.Module:
        """The backbone of a branch."""
        return self.branch(branch).backbone  # type: ignore[return-value]

    @torch.no_grad()
    def __call__(self, pixels: Tensor, branch: str | None = None) -> Encoding:
        """Normalised pixels [batch, channels, time, height, width] -> what the codebase's network gives, float32.

        DPC: [batch, blocks, channels, time, height, width]. ``SettingError`` for a branch that the file does not hold.
        """
        network = self.branch(branch)
        device = next(self.network.parameters()).device
        found = network(pixels.to(device))
        return Encoding(embedding_is_normalized=found["embedding_raw"] is not None, **found)

    def preprocess(self, path: str | Path, clips: int = 1, crops: int = 1) -> Tensor:
        """A video or image, or all those of a folder or list, as the codebase prepares it: each record's views in a row.

        [records * clips * crops, channels, time, crop, crop]; DPC: [.., blocks, channels, time, crop, crop].
        """
        source: Source = SingleSource(Path(path)) if is_single(Path(path)) else open_source(Path(path))
        views = []
        for index in range(len(source)):
            chosen = source.read_chosen(index, lambda times, rate: positions(self.preparation, times, rate, clips))
            views += [prepared(clip, self.preparation, crops) for clip in chosen]
        return torch.cat(views)


def prepared(clip: Clip, how: Preparation, crops: int) -> Tensor:
    """The views of one clip, cut into blocks where the network wants them."""
    pixels = prepare(clip.frames, how, crops)
    if not how.num_blocks:
        return pixels
    return pixels.unflatten(2, (how.num_blocks, -1)).transpose(1, 2)  # type: ignore[no-any-return]


def load_imported(
    path: Path, layout: str | None = None, device: str = "cpu", config: str | Path | None = None
) -> ImportedEncoder:
    """The encoder in a file of another codebase; ``CheckpointError`` where its layout is not known.

    ``config``: a YAML file of PySlowFast, whose settings count instead of those in the file. ``SettingError`` where it cannot
    be read, or the file is another codebase's, and where there is no such device.
    """
    check_device(device)
    _check_foreign(path)
    found = identify(path, layout, None if config is None else _read_config(Path(config)))
    if config is not None and not found.layout.name.startswith("pyslowfast"):
        raise SettingError(f"--config is for PySlowFast's files. Got it with layout '{found.layout.name}'; leave it out.")
    to_channels_last(found.network).to(device)
    return ImportedEncoder(found)


def _check_foreign(path: Path) -> None:
    """A file that `fullrank convert` wrote has torchvision's keys, whatever its clips and pictures were."""
    head = read_head(path)
    metadata = read_safetensors(path, metadata_only=True)[1] if is_safetensors(path, head) else {}
    recipe = metadata.get("fullrank")
    if recipe is not None:
        raise CheckpointError(
            f"{path} must be of another codebase. Got what `fullrank convert` made of {recipe}, which does not say how clips "
            "are prepared; extract features with the run itself, or start a run from it with --backbone.weights."
        )


def _read_config(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"--config must be a readable YAML file. Got {path} ({error}).") from None
    try:
        read_yaml(text)
    except CheckpointError as error:
        raise SettingError(f"--config {path}: {error}") from None
    return text
