"""What the vision transformers share: their sizes and blocks, and what a masked method asks of them.

The block is the pre-norm one of Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, arXiv 2010.11929, equations
2 and 3: x = x + attention(norm1(x)), x = x + mlp(norm2(x)). The keys are timm's and DINO's (norm1, attn.qkv, attn.proj,
norm2, mlp.fc1, mlp.fc2), and so is the epsilon of the norms, 1e-6.
"""

from typing import Literal, Protocol, cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from fullrank.backbones.patches import Grid
from fullrank.errors import SettingError

Size = Literal["micro", "tiny", "small", "base", "large", "huge"]
SIZES: dict[str, tuple[int, int, int]] = {
    "micro": (64, 2, 12),
    "tiny": (192, 3, 12),
    "small": (384, 6, 12),
    "base": (768, 12, 12),
    "large": (1024, 16, 24),
    "huge": (1280, 16, 32),
}
"""{size: (embed_dim, heads, layers)}"""
MLP_RATIO = 4
NORM_EPS = 1e-6


class Transformer(Protocol):
    """What a masked method asks of a backbone."""

    embed_dim: int
    patch: tuple[int, int, int]
    """frames, pixels, pixels of a patch"""

    def grid(self, pixels: Tensor) -> Grid:
        """Patches of these pixels along time, height and width."""
        ...

    def tokens(self, pixels: Tensor, hidden: Tensor | None = None) -> Tensor:
        """[batch, visible tokens (behind the class token, where there is one), embed_dim], after the last norm."""
        ...


def as_transformer(backbone: nn.Module, method: str) -> Transformer:
    """``backbone`` itself, where it has tokens that can be hidden; ``SettingError`` with the method's name otherwise."""
    if not all(hasattr(backbone, name) for name in ("embed_dim", "patch", "grid", "tokens")):
        raise SettingError(
            f"the backbone must be a transformer: {method} hides tokens of it. Got {type(backbone).__name__}; "
            "set --backbone.name vit (or one of your own with patch, grid and tokens)."
        )
    return cast(Transformer, backbone)


def size_of(size: str, layers: int | None, heads: int | None) -> tuple[int, int, int]:
    """(embed_dim, heads, layers) of a size; ``layers`` and ``heads`` replace its own."""
    if size not in SIZES:
        raise SettingError(f"size of a transformer must be one of {', '.join(SIZES)}. Got '{size}'.")
    dim, own_heads, own_layers = SIZES[size]
    heads, layers = heads or own_heads, layers or own_layers
    if dim % heads:
        raise SettingError(f"heads of a transformer must divide its width, {dim}. Got {heads}; leave it out for {own_heads}.")
    return dim, heads, layers


class Attention(nn.Module):
    """Multi-head self-attention with biases: softmax(q k^T / sqrt(d / heads)) v."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x: Float[Tensor, "rows tokens d"]) -> Float[Tensor, "rows tokens d"]:
        """Every token looks at every token of its row."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, dim: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(dim, MLP_RATIO * dim), nn.Linear(MLP_RATIO * dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Each token by itself."""
        return self.fc2(F.gelu(self.fc1(x)))  # type: ignore[no-any-return]


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016, arXiv 1603.09382).

    In train mode the branch of a row is 0 with probability ``prob`` and divided by 1 - prob otherwise, so that the mean
    stays; in eval mode nothing happens.
    """

    def __init__(self, prob: float):
        super().__init__()
        self.prob = prob

    def forward(self, branch: Tensor) -> Tensor:
        """[rows, ...] -> the same."""
        if not self.training or self.prob == 0.0:
            return branch
        kept = branch.new_empty(len(branch), *[1] * (branch.ndim - 1)).bernoulli_(1.0 - self.prob)
        return branch * (kept / (1.0 - self.prob))


class Block(nn.Module):
    """A transformer block: x = x + attention(norm1(x)); x = x + mlp(norm2(x))."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0):
        super().__init__()
        self.norm1, self.attn = nn.LayerNorm(dim, NORM_EPS), Attention(dim, heads)
        self.norm2, self.mlp = nn.LayerNorm(dim, NORM_EPS), Mlp(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "rows tokens d"]) -> Float[Tensor, "rows tokens d"]:
        """Rows do not see each other."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))  # type: ignore[no-any-return]


def drop_probs(largest: float, layers: int) -> list[float]:
    """Probability of each block: from 0 in the first, linearly, to ``largest`` in the last.

    >>> drop_probs(0.2, 3)
    [0.0, 0.1, 0.2]
    """
    if not 0.0 <= largest < 1.0:
        raise SettingError(f"drop_path must be in [0, 1). Got {largest}; with 1 the last block would never run.")
    return [largest * i / max(layers - 1, 1) for i in range(layers)]


def initialise(module: nn.Module) -> None:
    """Linear layers: normal of standard deviation 0.02, cut at 2, and bias 0, as in DINO, timm and SVT.

    Norms keep 1 and 0, the patch projection torch's own. (MAE, VideoMAE and MoCo v3 start from Xavier's uniform.)
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
