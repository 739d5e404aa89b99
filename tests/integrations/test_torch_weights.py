"""Weights of `torch.compile(…, backend="byoc")`: every way to write to them is noticed."""

from __future__ import annotations

import copy

import pytest

torch = pytest.importorskip("torch", reason="needs PyTorch: scripts/install torch")

from byoc.integrations.torch_compile import StaleWeightsWarning  # noqa: E402
from byoc.integrations.torch_weights import Change, FrozenWeights  # noqa: E402

nn = torch.nn

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:.*torch.*:UserWarning:torch"
)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 4)).eval()


def optimised(name, **settings):
    def change(model):
        optimiser = getattr(torch.optim, name)(model.parameters(), lr=0.1, **settings)
        torch.manual_seed(1)
        with torch.enable_grad():
            model(torch.randn(3, 6)).square().sum().backward()
        optimiser.step()
        model.zero_grad()

    return change


def replaced(model):
    model[0].weight = nn.Parameter(torch.ones(8, 6))


CHANGES = {
    "SGD": optimised("SGD"),
    "SGD foreach": optimised("SGD", foreach=True),
    "SGD fused": optimised("SGD", fused=True),
    "Adam fused": optimised("Adam", fused=True),
    "AdamW fused": optimised("AdamW", fused=True),
    "Adagrad fused": optimised("Adagrad", fused=True),
    "data, whole": lambda m: m[2].weight.data.mul_(3),
    "data, one number": lambda m: m[0].weight.data[3, 2].fill_(7),
    "data, two rows exchanged": lambda m: m[0].weight.data.copy_(m[0].weight.data.flip(0)),
    "numpy, one number": lambda m: m[0].bias.detach().numpy().__setitem__(1, 5.0),
    "in place": lambda m: m[0].weight.mul_(2),
    "another tensor": lambda m: setattr(m[0].weight, "data", torch.full((8, 6), 0.5)),
    "another parameter": replaced,
}


@pytest.mark.parametrize("name", CHANGES)
def test_answers_follow_the_weights(name):
    torch._dynamo.reset()
    model, x = network(), torch.randn(3, 6)
    twin = copy.deepcopy(model)
    compiled = torch.compile(model, backend="byoc", options={"strict": True, "vendors": []})
    with torch.no_grad():
        compiled(x)
        for _ in range(4):
            CHANGES[name](model)
            CHANGES[name](twin)
            torch.testing.assert_close(compiled(x), twin(x), atol=1e-5, rtol=1e-4)


def large():
    torch.manual_seed(0)
    return [torch.randn(300, 200), torch.randn(1000), torch.randn(64, 3, 7, 7), torch.ones(5)]


def test_a_step_tells_exactly_whose_weights_it_writes():
    model, other = network(), network()
    mine, others = (FrozenWeights(list(m.parameters())) for m in (model, other))
    optimised("SGD", fused=True)(model)
    assert mine.change(list(model.parameters())) is Change.COUNTED
    assert others.change(list(other.parameters())) is Change.NONE


@pytest.mark.parametrize("which", range(4))
def test_large_models_are_sampled_in_every_tensor(which):
    weights = large()
    frozen = FrozenWeights(weights)
    assert not frozen.whole and not any(frozen.change(weights) for _ in range(20))
    weights[which].data.mul_(2)
    assert frozen.change(weights) is Change.SEEN


def test_what_samples_miss_a_pass_finds():
    torch.manual_seed(2)
    for _ in range(20):
        weights = large()
        frozen = FrozenWeights(weights)
        weights[0].data[torch.randint(300, ()), torch.randint(200, ())] += 1
        assert any(frozen.change(weights) for _ in range(frozen.calls_of_a_pass))


def test_a_late_change_is_told_and_weights_are_read_from_then_on():
    torch._dynamo.reset()
    model, x = nn.Linear(1000, 300).eval(), torch.randn(2, 1000)
    compiled = torch.compile(model, backend="byoc", options={"strict": True, "vendors": []})
    with torch.no_grad():
        compiled(x)
        model.weight.data[7, 8:12] = 100
        with pytest.warns(StaleWeightsWarning, match="increment_version"):
            for _ in range(100):
                found = compiled(x)
        torch.testing.assert_close(found, model(x), atol=1e-3, rtol=1e-3)
        model.weight.data[9, 1] = 100
        torch.testing.assert_close(compiled(x), model(x), atol=1e-3, rtol=1e-3)


def test_dead_tensors_and_odd_memory():
    base = torch.arange(40, dtype=torch.uint8)
    weights = [base[1:20], base[3::4], torch.empty(0), torch.tensor(3.0), torch.ones(3, 4).t()]
    frozen = FrozenWeights(weights)
    assert frozen.are(weights) and not frozen.change(weights)
    base.numpy()[19] = 99
    assert frozen.change(weights) is Change.SEEN
    del weights[3]
    assert not frozen.alive
