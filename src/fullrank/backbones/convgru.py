"""A gated recurrent unit over feature maps: what DPC gathers the past with.

Ballas, Yao, Pal, Courville, "Delving Deeper into Convolutional Networks for Learning Video Representations", ICLR 2016,
arXiv 1511.06432; with 1x1 kernels in Han, Xie, Zisserman, "Video Representation Learning by Dense Predictive Coding", ICCV
Workshops 2019, arXiv 1909.04656.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from fullrank.errors import SettingError, ShapeError


class ConvGRUCell(nn.Module):
    """One step: h' = (1 - z) h + z tanh(W [x, r h]), with z = sigmoid(W_z [x, h]) and r = sigmoid(W_r [x, h]).

    Weights start orthogonal, biases at 0, as in DPC's code.
    """

    def __init__(self, input_dim: int, hidden_dim: int, kernel_size: int = 1):
        super().__init__()
        if kernel_size % 2 == 0:
            raise SettingError(f"kernel_size of a ConvGRU must be odd, so that maps keep their size. Got {kernel_size}.")
        self.hidden_dim = hidden_dim
        sizes = (input_dim + hidden_dim, hidden_dim, kernel_size, 1, kernel_size // 2)
        self.reset_gate, self.update_gate, self.out_gate = nn.Conv2d(*sizes), nn.Conv2d(*sizes), nn.Conv2d(*sizes)
        for gate in (self.reset_gate, self.update_gate, self.out_gate):
            nn.init.orthogonal_(gate.weight)
            nn.init.zeros_(gate.bias)  # type: ignore[arg-type]

    def forward(
        self, x: Float[Tensor, "batch input height width"], hidden: Float[Tensor, "batch hidden height width"] | None = None
    ) -> Float[Tensor, "batch hidden height width"]:
        """The next hidden state; the first one is 0 where it is not given."""
        if hidden is None:
            hidden = x.new_zeros(x.shape[0], self.hidden_dim, *x.shape[2:])
        both = torch.cat([x, hidden], dim=1)
        update, reset = torch.sigmoid(self.update_gate(both)), torch.sigmoid(self.reset_gate(both))
        candidate = torch.tanh(self.out_gate(torch.cat([x, hidden * reset], dim=1)))
        return hidden * (1 - update) + candidate * update


class ConvGRU(nn.Module):
    """A ``ConvGRUCell`` over the blocks of a sequence.

    Args:
        input_dim: channels of the maps.
        hidden_dim: channels of the hidden state.
        kernel_size: of the gates; DPC: 1.
        dropout: of the hidden state at every step, which the next step then sees too; only in train mode. DPC: 0.1.
    """

    def __init__(self, input_dim: int, hidden_dim: int, kernel_size: int = 1, dropout: float = 0.1):
        super().__init__()
        self.cell, self.dropout = ConvGRUCell(input_dim, hidden_dim, kernel_size), nn.Dropout(dropout)

    def forward(
        self,
        x: Float[Tensor, "batch blocks input height width"],
        hidden: Float[Tensor, "batch hidden height width"] | None = None,
    ) -> tuple[Float[Tensor, "batch blocks hidden height width"], Float[Tensor, "batch hidden height width"]]:
        """(hidden state after each block, the last one); ``hidden``: go on from this state.

        One further step (DPC's predictions): ``gru(x[:, None], hidden)``.
        """
        if x.ndim != 5 or x.shape[1] == 0:
            raise ShapeError(
                f"the ConvGRU's maps must be [batch, blocks, channels, height, width], at least one block. Got {list(x.shape)}."
            )
        outputs = []
        for block in x.unbind(1):
            hidden = self.dropout(self.cell(block, hidden))
            outputs.append(hidden)
        return torch.stack(outputs, dim=1), outputs[-1]
