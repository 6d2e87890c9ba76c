import pytest
import torch

from fullrank.backbones.patches import PatchEmbed, take, visible
from fullrank.errors import ShapeError


@pytest.mark.parametrize(("patch", "time"), [((1, 4, 4), 1), ((2, 3, 3), 4)])
def test_patches_are_what_the_convolution_would_give(patch, time):
    torch.manual_seed(0)
    embed, clips = PatchEmbed(2, 5, patch), torch.randn(3, 2, time, 12, 24)
    want = embed.proj(clips[:, :, 0]) if patch[0] == 1 else embed.proj(clips)
    want = want.flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed(clips), want)
    kept = torch.tensor([[0, 5, 7], [1, 2, 3], [4, 5, 17]])
    torch.testing.assert_close(embed(clips, kept), take(want, kept))


def test_visible_tokens_come_in_order():
    generator = torch.Generator().manual_seed(0)
    hidden = torch.stack([torch.randperm(50, generator=generator) < 40 for _ in range(8)])
    assert torch.equal(visible(hidden), torch.stack([(~row).nonzero()[:, 0] for row in hidden]))
    hidden[3] = True
    with pytest.raises(ShapeError, match="Got 0 to 10 of 50"):
        visible(hidden)
