"""VICReg: collapse value and weights."""

import pytest
import torch


def test_constant_encoder_gives_the_documented_terms(lab):
    method = lab.build("vicreg", network=lab.Constant)
    losses = method(lab.make_views(method), lab.context()).losses
    assert float(losses["invariance"].detach()) == pytest.approx(0.0, abs=1e-6)
    assert float(losses["variance"].detach()) == pytest.approx(25.0 * 0.99, abs=1e-4)
    assert float(losses["covariance"].detach()) == pytest.approx(0.0, abs=1e-6)


def test_weights_scale_their_terms(lab):
    views = lab.make_views(lab.build("vicreg"))
    usual = lab.build("vicreg")(views, lab.context()).losses
    changed = lab.build("vicreg", variance_weight=0.0, invariance_weight=5.0, covariance_weight=2.0)(
        views, lab.context()
    ).losses
    assert float(changed["variance"].detach()) == 0.0
    torch.testing.assert_close(changed["invariance"] * 5, usual["invariance"])
    torch.testing.assert_close(changed["covariance"] / 2, usual["covariance"])


def test_without_the_variance_term_training_collapses_the_embedding(lab):
    """The paper's table 7, in a second: mu = 0 shrinks the embedding, mu = 25 keeps it spread."""
    spread = {}
    for weight in (0.0, 25.0):
        method = lab.build("vicreg", variance_weight=weight)
        optimizer = torch.optim.Adam(method.parameters(), lr=0.01)
        for step in range(40):
            output = method(lab.make_views(method, batch=16, seed=step), lab.context())
            optimizer.zero_grad()
            output.loss.backward()
            optimizer.step()
        spread[weight] = float(output.features["embedding"].flatten(0, 1).std(0).mean())
    assert spread[0.0] < 0.05
    assert spread[25.0] > 0.15
