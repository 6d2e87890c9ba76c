"""From a run folder to an encoder: ``fullrank.load("runs/first")``."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from fullrank.backbones.build import backbone_factory, load_weights
from fullrank.backbones.resnet import to_channels_last
from fullrank.checkpoint.device import check_device
from fullrank.checkpoint.encoding import Encoding
from fullrank.checkpoint.interop._backbones import flags_of
from fullrank.checkpoint.interop._layout import flat
from fullrank.checkpoint.interop.identify import identify
from fullrank.checkpoint.reading import read_weights
from fullrank.checkpoint.save import FILE, OURS, hash_of_tensors, load_checkpoint, read_run
from fullrank.config import BackboneConfig, RunConfig
from fullrank.data.clips import clip_spec, uniform_fractions
from fullrank.data.loader import in_order
from fullrank.data.open import open_source
from fullrank.data.source import Source
from fullrank.data.sources.single import SingleSource, is_single
from fullrank.errors import CheckpointError, SettingError
from fullrank.methods._method import Method, available, load_method
from fullrank.teacher import Teacher
from fullrank.types import ClipSpec
from fullrank.views.plan import center_views


class Encoder:
    """A trained (or untrained) method, ready to encode."""

    def __init__(self, config: RunConfig[Any], method: Method, *, steps: int, checkpoint_hash: str, name: str):
        self.config, self.method, self.checkpoint_hash, self.name = config, method.eval(), checkpoint_hash, name
        self.steps = steps
        """of training; 0: the weights are random"""

    @property
    def backbone(self) -> nn.Module:
        """The network that is kept: an ordinary module."""
        return self.method.backbone  # type: ignore[return-value]

    def backbone_of(self, branch: str | None) -> nn.Module:
        """The backbone of a branch; None: of what the paper evaluates. ``SettingError`` where it cannot be told apart."""
        method: Any = self.method
        name = method.resolve_branch(branch)
        if name == "teacher" and isinstance(getattr(method, "teacher", None), Teacher):
            return method.teacher[0]  # type: ignore[no-any-return]
        if name not in ("student", "narrow", "broad", "backbone", "context"):
            raise SettingError(
                f"the backbone of branch '{name}' of this method is not known. `fullrank methods` lists branches."
            )
        return method.broad_backbone if name == "broad" else self.backbone

    @property
    def clip_spec(self) -> ClipSpec:
        """Which frames the encoder was trained on."""
        return clip_spec(type(self.method).views(self.config.method), self.config.data)

    @torch.no_grad()
    def __call__(self, pixels: Tensor, branch: str | None = None) -> Encoding:
        """[batch, channels, time, height, width], normalised as in training -> representation and embedding, float32."""
        device = next(self.method.parameters()).device
        representation = self.method.encode(pixels.to(device), branch)
        embedding = self.method.embed(representation, branch)
        return Encoding(representation=representation.float(), embedding=None if embedding is None else embedding.float())

    def preprocess(self, path: str | Path) -> Tensor:
        """The centre clip of a video or image, or of all those of a folder or list, normalised.

        [records, channels, time, height, width].
        """
        source: Source = SingleSource(Path(path)) if is_single(Path(path)) else open_source(Path(path))
        batches = in_order(source, self.clip_spec, uniform_fractions(1), batch_size=max(len(source), 1), num_workers=0)
        augmentation = type(self.method).views(self.config.method).groups[0].augmentation
        views = [
            center_views(b, augmentation.size_pixels, augmentation.mean, augmentation.std, torch.device("cpu"))[:, 0]
            for b in batches
        ]
        return torch.cat(views)


def method_name(settings: Any) -> str:
    """The registry name of the method whose ``Config`` these settings are."""
    for name, place in available().items():
        if place.partition(":")[0] == type(settings).__module__:
            return name
    raise SettingError(f"{type(settings).__module__} is not a known method. `fullrank methods` lists them.")


def build_method(config: RunConfig[Any], num_records: int, *, weights: bool = False) -> Method:
    """A new method from its settings, its convolutions channels last.

    ``weights``: its backbones start from the files that the settings name (``backbone.weights``, ``roles.*.weights``); a run
    that goes on does not read them. ``SettingError`` where ``roles`` names a role that the method does not have.
    """
    cls = load_method(method_name(config.method))
    start, roles = None, {}
    if weights:
        start = backbone_weights(config.backbone.weights) if config.backbone.weights else None
        roles = {role: backbone_weights(own.weights) for role, own in config.roles.items() if own.weights}
    backbones = backbone_factory(config.backbone, start, roles=config.roles, role_weights=roles)
    try:
        method = cls(config.method, backbones, num_records)
    except CheckpointError as error:
        raise CheckpointError(f"{error}{_own_settings(config.backbone)}") from error
    backbones.check_roles()
    return to_channels_last(method)  # type: ignore[return-value]


def _own_settings(config: BackboneConfig) -> str:
    """Which flags would give the backbone the settings of its weights' file, where that is another codebase's."""
    path = config.weights
    if path is None or path.is_dir() or path.name in OURS:
        return ""
    try:
        network: Any = identify(path).network
    except CheckpointError:
        return ""
    flags = flags_of(network.backbone.config, config)
    return f" Its own: {flags}" if flags else ""


def read_config(folder: Path) -> tuple[RunConfig[Any], dict[str, Any]]:
    """The typed settings of a run folder, and its config.json."""
    record = read_run(folder)
    kind = load_method(record["method"]).Config
    return RunConfig[kind].model_validate(record["settings"]), record  # type: ignore[valid-type]


def load(path: str | Path, device: str = "cpu") -> Encoder:
    """The encoder of a run folder. ``CheckpointError`` where there is none, or it belongs to another method.

    ``SettingError`` where there is no such device.
    """
    check_device(device)
    folder = Path(path)
    if not folder.exists():
        raise CheckpointError(f"There must be a run folder or a checkpoint at {folder}. Got nothing there; check the path.")
    file = folder / FILE if folder.is_dir() else folder
    folder = file.parent
    config, record = read_config(folder)
    state = load_checkpoint(file)
    if state["method_name"] != record["method"]:
        raise CheckpointError(
            f"The checkpoint in {folder} must be of the method that config.json names, {record['method']}. "
            f"Got one of {state['method_name']}; the two files do not belong together."
        )
    method = build_method(config, record["num_records"])
    if method.needs_labels:
        method.fit_classifiers_to(state["method"])  # type: ignore[operator]
    load_weights(method, state["method"], str(folder))
    name = record["recipe"] or record["method"]
    digest = hash_of_tensors(state["method"])
    return Encoder(config, method.to(device), steps=int(state["step"]), checkpoint_hash=digest, name=name)


def untrained(config: RunConfig[Any], *, seed: int = 0, num_records: int = 1) -> Encoder:
    """The same network with random weights: the control of every table."""
    torch.manual_seed(seed)
    method = build_method(config, num_records)
    return Encoder(config, method, steps=0, checkpoint_hash=hash_of_tensors(method.state_dict()), name="random weights")


def backbone_weights(path: Path) -> dict[str, Tensor]:
    """The backbone's tensors of a run folder, a checkpoint of ours or of another codebase, or a file with a plain state dict.

    ``CheckpointError`` where the file cannot be read or holds no tensors.
    """
    if path.is_dir() or (path.name in OURS and (path.parent / "config.json").exists()):
        state: dict[str, Tensor] = load_checkpoint(path)["method"]
        return {name.removeprefix("backbone."): t for name, t in state.items() if name.startswith("backbone.")}
    tensors, _ = flat(read_weights(path))
    if not tensors:
        raise CheckpointError(f"{path} must hold a state dict of tensors. `fullrank inspect {path}` says what it holds.")
    try:
        return _with_statistics(identify(path).network.backbone)  # type: ignore[arg-type]
    except CheckpointError:  # no layout that is known: as it stands, and whoever loads it says what does not fit
        below = {name.removeprefix("backbone."): t for name, t in tensors.items() if name.startswith("backbone.")}
        return below or tensors


def _with_statistics(backbone: nn.Module) -> dict[str, Tensor]:
    """The state dict; of norms that come without statistics (older DPC files), those of the start: mean 0, variance 1."""
    state = dict(backbone.state_dict())
    for name, part in backbone.named_modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.running_mean is None:
            fresh = nn.BatchNorm1d(part.num_features).state_dict()
            state |= {f"{name}.{key}": tensor for key, tensor in fresh.items() if f"{name}.{key}" not in state}
    return state
