"""The methods against closed forms, exact Shapley values and Captum."""

from __future__ import annotations

import math
from itertools import permutations

import pytest
import torch
from torch import Tensor, nn

from corecur.explain.faithfulness import rank_correlation
from corecur.explain.grad_cam import grad_cam
from corecur.explain.gradients import gradient, input_gradient, integrated_gradients, smooth_grad
from corecur.explain.lime import lime
from corecur.explain.methods import METHODS, Attribution, Effort, Ranking, explain, fitting
from corecur.explain.occlusion import occlusion
from corecur.explain.question import grid_parts, plain_question
from corecur.explain.shapley import gradient_shap, kernel_shap, near_baselines
from tests.explain.plain_questions import linear, picture_question, small_cnn

WEIGHTS = torch.tensor([2.0, -1.0, 0.0, 0.5])
INPUTS = torch.tensor([1.0, 3.0, 5.0, -2.0])
LINEAR = plain_question(linear(WEIGHTS, 0.7), INPUTS)


def game(x: Tensor) -> Tensor:
    """A score with products: (N, 5) -> (N,); parts 0 and 1 play the same role, part 4 none."""
    return x[:, 0] * x[:, 1] * 2 + torch.tanh(x[:, 0] + x[:, 1] + x[:, 2]) - x[:, 2] * x[:, 3] + 1


def exact_shapley(inputs: Tensor) -> Tensor:
    """The mean over all orders of what each part adds when it comes."""
    count, total = len(inputs), torch.zeros(len(inputs), dtype=torch.float64)
    for order in permutations(range(count)):
        rows = torch.zeros(count + 1, count)
        for step, place in enumerate(order):
            rows[step + 1] = rows[step]
            rows[step + 1, place] = inputs[place]
        gains = game(rows).double().diff()
        for place, gain in zip(order, gains.tolist(), strict=True):
            total[place] += gain / math.factorial(count)
    return total


@pytest.mark.parametrize("method", [occlusion, input_gradient, integrated_gradients, kernel_shap])
def test_a_linear_score_is_weights_times_values(method: object) -> None:
    torch.testing.assert_close(method(LINEAR).double(), (WEIGHTS * INPUTS).double(), atol=1e-4, rtol=0)  # type: ignore[operator]


def test_lime_recovers_a_linear_model() -> None:
    torch.testing.assert_close(lime(LINEAR).double(), (WEIGHTS * INPUTS).double(), atol=1e-2, rtol=0)


def test_the_gradient_is_that_of_torch() -> None:
    network, picture = small_cnn(), torch.rand(6, 6, 1)
    x = picture.permute(2, 0, 1)[None].clone().requires_grad_()
    network(x)[0, 1].backward()
    assert x.grad is not None
    torch.testing.assert_close(gradient(picture_question(network, picture)), x.grad[0, 0].abs())


def test_kernel_shap_gives_the_shapley_values_of_few_parts() -> None:
    inputs = torch.tensor([1.0, 1.0, 0.5, -1.0, 2.0])
    found = kernel_shap(plain_question(game, inputs))
    torch.testing.assert_close(found, exact_shapley(inputs), atol=1e-5, rtol=0)
    assert float(found[4]) == pytest.approx(0, abs=1e-6)  # dummy
    assert float(found[0]) == pytest.approx(float(found[1]), abs=1e-6)  # symmetry


def test_drawn_coalitions_come_near_the_shapley_values_and_add_up() -> None:
    torch.manual_seed(1)
    weights, inputs = torch.randn(16), torch.randn(16)
    question = plain_question(lambda x: torch.tanh(x @ weights / 4) + x[:, 0] * x[:, 1], inputs)
    found = kernel_shap(question)
    pair = 0.5 * float(inputs[0] * inputs[1])  # the product belongs to both in equal parts
    alone = kernel_shap(plain_question(lambda x: torch.tanh(x @ weights / 4), inputs))
    assert float(found[0] - alone[0]) == pytest.approx(pair, abs=0.05)
    whole, none = question.scores(torch.stack([inputs, torch.zeros(16)])).tolist()
    assert float(found.sum()) == pytest.approx(whole - none, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_scores_add_up_on_a_network(seed: int) -> None:
    network = small_cnn(seed)
    question = picture_question(network, torch.rand(6, 6, 1, generator=torch.Generator().manual_seed(seed)))
    whole, none = question.scores(torch.stack([question.inputs, question.baseline])).tolist()
    for method in (integrated_gradients, kernel_shap):
        assert float(method(question).double().sum()) == pytest.approx(whole - none, abs=1e-3)
    start = float(question.scores(near_baselines(question)).mean())
    assert float(gradient_shap(question).double().sum()) == pytest.approx(whole - start, abs=1e-3)


def test_captum_says_the_same() -> None:
    captum = pytest.importorskip("captum.attr")
    network, picture = small_cnn(), torch.rand(6, 6, 1, generator=torch.Generator().manual_seed(3))
    question, x = picture_question(network, picture), picture.permute(2, 0, 1)[None].requires_grad_()
    saliency = captum.Saliency(network).attribute(x, target=1)[0, 0]
    torch.testing.assert_close(gradient(question), saliency)
    integrated = captum.IntegratedGradients(network).attribute(x, target=1, n_steps=400)[0, 0]
    torch.testing.assert_close(integrated_gradients(question).float(), integrated.detach().float(), atol=2e-3, rtol=0)
    occluded = captum.FeatureAblation(network).attribute(x.detach(), target=1)[0, 0]
    torch.testing.assert_close(occlusion(question).float(), occluded, atol=1e-5, rtol=0)
    cam = captum.LayerGradCam(network, network[2]).attribute(x, target=1, relu_attributions=True)[0, 0]
    torch.testing.assert_close(grad_cam(question, layer="2"), cam.detach(), atol=1e-6, rtol=1e-4)


def test_grad_cam_finds_a_planted_patch() -> None:
    class Bright(nn.Module):
        """A class for a bright patch, seen by one filter of ones."""

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
            with torch.no_grad():
                self.body[0].weight[0], self.body[0].weight[1] = 1.0, -1.0  # type: ignore[operator]
                self.body[0].bias.fill_(-4.0)  # type: ignore[union-attr, operator]

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x).mean((2, 3))
            return torch.stack([y[:, 0] - y[:, 1], y[:, 1] - y[:, 0]], 1)

    picture = torch.zeros(12, 12, 1)
    picture[7:10, 2:5] = 1.0
    network = Bright().eval()
    question = plain_question(
        lambda x: network(x.permute(0, 3, 1, 2))[:, 0], picture, network=network, kind="image", parts=grid_parts(12, 12)
    )
    found = grad_cam(question)
    assert divmod(int(found.argmax()), 12) == (8, 3)
    assert float(found[6:11, 1:6].sum() / found.sum()) > 0.95


def test_smooth_grad_without_noise_is_the_gradient() -> None:
    question = picture_question(small_cnn(), torch.rand(6, 6, 1))
    torch.testing.assert_close(smooth_grad(question, noise=0.0), gradient(question))
    assert torch.equal(smooth_grad(question, seed=2), smooth_grad(question, seed=2))
    assert not torch.equal(smooth_grad(question, seed=2), smooth_grad(question, seed=3))


def test_every_method_leaves_the_network_as_it_was() -> None:
    network = small_cnn().train()
    network[1].eval()
    question = picture_question(network, torch.rand(6, 6, 1))
    weights = [weight.clone() for weight in network.parameters()]
    modes = [module.training for module in network.modules()]
    state = torch.random.get_rng_state()
    for name in fitting(question, Effort()):
        explain(question, name, Effort(rankings=2, curve_steps=2, samples=16, steps=8))
    assert all(torch.equal(a, b) and b.grad is None for a, b in zip(weights, network.parameters(), strict=True))
    assert [module.training for module in network.modules()] == modes
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_a_seed_gives_the_same_again() -> None:
    question = picture_question(small_cnn(), torch.rand(6, 6, 1, generator=torch.Generator().manual_seed(0)))
    effort = Effort(check=False, samples=16)
    for name, row in METHODS.items():
        if isinstance(row, Ranking) and name in fitting(question, effort):
            one, other = explain(question, name, effort), explain(question, name, effort)
            assert isinstance(one, Attribution) and isinstance(other, Attribution)
            assert one.scores.tolist() == other.scores.tolist()
            assert rank_correlation(torch.tensor(one.scores.ravel()), torch.tensor(other.scores.ravel())) in (0.0, 1.0)
