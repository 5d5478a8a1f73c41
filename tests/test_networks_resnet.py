"""network=resnet: the pair against plain formulas, its beginning, and its options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.nn import functional

from mergan.config.instantiate import part
from mergan.networks.fast.pooled_conv import PooledConv2d
from mergan.networks.fast.upsample_conv import TransposedUpsampleConv2d
from mergan.networks.layers import ClassTable, ConditionalNorm, Projection, inherit_classes
from mergan.networks.residual import DownBlock, UpBlock
from mergan.run import experiment
from mergan.run.trained import load_generator

LATENT, CLASSES = 6, 5
WIDTHS = {"width": 4, "max_width": 8}  # the cap holds from 4x4 to 8x8 pixels, so one shortcut has no weights
LABELS = torch.tensor([0, 3, 1])


def generator_of(**arguments: Any) -> nn.Module:
    shape = {"latent_dim": LATENT, "num_classes": CLASSES, "channels": 3, "image_size": 16}
    given = shape | WIDTHS | {"modulation": "class_and_z", "private_z": 2} | arguments
    return randomised(part("network.generator", "network=resnet", **given))


def discriminator_of(**arguments: Any) -> nn.Module:
    shape = {"num_classes": CLASSES, "channels": 3, "image_size": 16}
    return randomised(part("network.discriminator", "network=resnet", **shape | WIDTHS | arguments))


def randomised(network: nn.Module) -> nn.Module:
    """A network in float64 in which no parameter is neutral."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.3)
    return network.double()


def inputs() -> tuple[Tensor, Tensor]:
    """z (3, LATENT) and images (3, 3, 16, 16)."""
    rng = torch.Generator().manual_seed(1)
    shapes = ((3, LATENT), (3, 3, 16, 16))
    z, images = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return z, images


def assert_same(ours: tuple[Tensor, ...], theirs: tuple[Tensor, ...]) -> None:
    for mine, yours in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-9, atol=1e-9)


# ------------------------------------------------------------------ the plain formulas


def plain_norm(norm: ConditionalNorm, x: Tensor, labels: Tensor, z: Tensor) -> Tensor:
    scale, shift = norm.scale.weight[labels], norm.shift.weight[labels]
    if norm.by_z is not None:
        half = x.shape[1]
        scale, shift = scale + z @ norm.by_z.weight[:half].t(), shift + z @ norm.by_z.weight[half:].t()
    return functional.group_norm(x, norm.groups) * scale[:, :, None, None] + shift[:, :, None, None]


def plain_conv(conv: nn.Module, x: Tensor) -> Tensor:
    return functional.conv2d(x, conv.weight, conv.bias, padding=conv.weight.shape[-1] // 2)


def plain_projection(project: Projection, z: Tensor, labels: Tensor) -> Tensor:
    rows = functional.linear(z, project.weight, project.bias).unbind()
    if project.private is not None:
        own = [project.private.weight[label].view(1 + project.private_z, -1) for label in labels]
        rows = tuple(
            row + part[0] + sum(point[i] * part[1 + i] for i in range(project.private_z))
            for row, point, part in zip(rows, z, own, strict=True)
        )
    return torch.stack(rows)


def plain_generator(generator: nn.Module, z: Tensor, labels: Tensor) -> Tensor:
    x = plain_projection(generator.project, z, labels).view(len(z), -1, 4, 4)
    for block in generator.blocks:
        assert isinstance(block, UpBlock)
        y = functional.interpolate(
            functional.relu(plain_norm(block.first_norm, x, labels, z)), scale_factor=2
        )
        y = functional.relu(plain_norm(block.second_norm, plain_conv(block.first, y), labels, z))
        x = functional.interpolate(x, scale_factor=2)
        x = x if isinstance(block.shortcut, nn.Identity) else plain_conv(block.shortcut, x)
        x = x + plain_conv(block.second, y)
    return torch.tanh(plain_conv(generator.out, functional.relu(plain_norm(generator.norm, x, labels, z))))


def plain_discriminator(discriminator: nn.Module, x: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    blocks = [block for block in discriminator.trunk if isinstance(block, DownBlock)]
    for index, block in enumerate(blocks):
        y = plain_conv(block.first, x if index == 0 else functional.leaky_relu(x, 0.2))
        y = plain_conv(block.second, functional.leaky_relu(y, 0.2))
        x = x if isinstance(block.shortcut, nn.Identity) else plain_conv(block.shortcut, x)
        x = functional.avg_pool2d(x + y, 2)
    features = functional.leaky_relu(x, 0.2).flatten(1)
    adversarial, classify = discriminator.adversarial, discriminator.classify
    projected = (features * discriminator.embedding.weight[labels]).sum(dim=1)
    return (
        features @ adversarial.weight[0] + adversarial.bias + projected,
        functional.linear(features, classify.weight, classify.bias),
    )


@pytest.mark.parametrize(
    ("modulation", "private_z", "bottleneck"),
    [("class", 0, 1), ("class_and_z", 2, 1), ("class", 100, 2), ("class_and_z", 0, 2)],
)
def test_generator_equals_the_plain_formula(modulation: str, private_z: int, bottleneck: int) -> None:
    generator = generator_of(modulation=modulation, private_z=private_z, bottleneck=bottleneck)
    assert generator.project.private_z == min(private_z, LATENT)  # no more than z has
    assert [type(block.shortcut) for block in generator.blocks] == [nn.Identity, nn.Conv2d]
    z = inputs()[0].requires_grad_()

    def values(forward: Callable[[], Tensor]) -> tuple[Tensor, ...]:
        images = forward()
        return images, *torch.autograd.grad(images.sin().sum(), [z, *generator.parameters()])

    assert_same(values(lambda: generator(z, LABELS)), values(lambda: plain_generator(generator, z, LABELS)))


@pytest.mark.parametrize("bottleneck", [1, 2])
def test_discriminator_and_its_penalty_equal_the_plain_formula(bottleneck: int) -> None:
    discriminator = discriminator_of(bottleneck=bottleneck, image_size=32)
    assert isinstance(discriminator.trunk[2].shortcut, nn.Identity)
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, requires_grad=True)

    def values(forward: Callable[[], tuple[Tensor, Tensor]]) -> tuple[Tensor, ...]:
        adversarial, classes = forward()
        parameters = list(discriminator.parameters())
        loss = adversarial.sin().sum() + classes.sin().sum()
        first = torch.autograd.grad(loss, [images, *parameters], retain_graph=True)
        (gradient,) = torch.autograd.grad(adversarial.sum(), images, create_graph=True)
        second = torch.autograd.grad(
            gradient.square().sum(), parameters, allow_unused=True, materialize_grads=True
        )
        return adversarial, classes, *first, *second

    assert_same(
        values(lambda: discriminator(images, LABELS)),
        values(lambda: plain_discriminator(discriminator, images, LABELS)),
    )


def test_gradients_of_the_penalty_equal_finite_differences() -> None:
    critic = discriminator_of(width=2, max_width=2, channels=1)
    images = torch.randn(1, 1, 16, 16, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(
        lambda points: critic(points, LABELS[:1])[0], images, atol=1e-4, fast_mode=True
    )


@pytest.mark.parametrize(
    ("fast", "plain"),
    [
        (PooledConv2d, lambda conv: nn.Sequential(conv, nn.AvgPool2d(2))),
        (TransposedUpsampleConv2d, lambda conv: nn.Sequential(nn.Upsample(scale_factor=2), conv)),
    ],
)
def test_convolutions_of_two_steps_equal_both_steps(fast: type[nn.Conv2d], plain: Callable[..., Any]) -> None:
    torch.manual_seed(0)
    mine = fast(3, 2).double()
    conv = nn.Conv2d(3, 2, kernel_size=3, padding=1).double()
    conv.load_state_dict(mine.state_dict())
    x = torch.randn(5, 3, 6, 4, dtype=torch.float64, requires_grad=True)

    def values(module: nn.Module) -> tuple[Tensor, ...]:
        y = module(x)
        return y, *torch.autograd.grad(y.sin().sum(), [x, *module.parameters()])

    assert_same(values(mine), values(plain(conv)))


# ------------------------------------------------------------------ how it begins


def test_gradients_reach_every_parameter_from_the_start() -> None:
    torch.manual_seed(0)
    labels = torch.arange(CLASSES)
    shape = {"num_classes": CLASSES, "channels": 3, "image_size": 32}
    generator = part(
        "network.generator",
        "network=resnet",
        latent_dim=LATENT,
        modulation="class_and_z",
        private_z=2,
        **shape,
    )
    discriminator = part("network.discriminator", "network=resnet", **shape)
    adversarial, classes = discriminator(generator(torch.randn(CLASSES, LATENT), labels), labels)
    (adversarial.sum() + classes.square().sum()).backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_modulation_by_z_is_neutral_at_the_start() -> None:
    torch.manual_seed(0)
    norm, plain = ConditionalNorm(16, CLASSES, "group", LATENT), ConditionalNorm(16, CLASSES, "group")
    x, z = torch.randn(3, 16, 4, 4), torch.randn(3, LATENT)
    assert torch.equal(norm(x, LABELS, z), plain(x, LABELS, z))
    nn.init.normal_(norm.by_z.weight)
    assert not torch.allclose(norm(x, LABELS, z), norm(x, LABELS, z.flip(0)), atol=0.1)


def test_weights_of_single_classes_are_neutral_at_the_start_and_learn_from_their_class_alone() -> None:
    torch.manual_seed(0)
    shared = Projection(LATENT, 8, CLASSES, 0)
    torch.manual_seed(0)
    project = Projection(LATENT, 8, CLASSES, 3)
    z = torch.randn(3, LATENT)
    assert torch.equal(project.weight, shared.weight) and torch.equal(project(z, LABELS), shared(z, LABELS))
    assert {name for name, _ in shared.named_parameters()} == {"weight", "bias"}  # as in older checkpoints
    project(z, LABELS).square().sum().backward()
    assert project.private is not None and project.private.weight.grad is not None
    learned = project.private.weight.grad.abs().sum(dim=1) > 0
    assert learned.nonzero().flatten().tolist() == sorted(LABELS.tolist())


@pytest.mark.parametrize("size", [16, 128])
def test_residual_branches_of_the_discriminator_begin_small(size: int) -> None:
    torch.manual_seed(0)
    shape = {"num_classes": CLASSES, "channels": 3, "image_size": size}
    discriminator = part("network.discriminator", "network=resnet", **shape)
    blocks = [block for block in discriminator.trunk if isinstance(block, DownBlock)]
    assert len(blocks) == {16: 2, 128: 5}[size]
    x = torch.randn(4, 3, size, size)
    for block in blocks:
        shortcut = block.shortcut(functional.avg_pool2d(x, 2))
        residual = block(x) - shortcut
        assert 0.01 < residual.std() / shortcut.std() < 0.3
        x = block(x)


# ------------------------------------------------------------------ its options


def test_widths_double_towards_low_resolution_up_to_the_cap() -> None:
    generator = generator_of(image_size=64, width=8, max_width=20)
    assert [block.shortcut.weight.shape[:2] for block in list(generator.blocks)[2:]] == [(16, 20), (8, 16)]
    assert generator.project.out_features == 20 * 16
    narrow = generator_of(width=8, max_width=2)  # the cap does not touch the last feature map
    assert narrow.out.in_channels == narrow.blocks[0].first.in_channels == 8
    assert discriminator_of(image_size=64, width=8, max_width=20).num_features == 20 * 16


def test_rows_of_new_classes_come_from_the_past_ones() -> None:
    generator = generator_of(modulation="class_and_z")
    tables = [table for table in generator.modules() if isinstance(table, ClassTable)]
    assert len(tables) == 11  # of the projection, two norms in each of two blocks, and the last norm
    rest = generator.blocks[0].first_norm.by_z.weight.detach().clone()
    inherit_classes(generator, new=(4,), before=(0, 2))
    for table in tables:
        torch.testing.assert_close(table.weight[4], table.weight[[0, 2]].mean(dim=0))
    assert torch.equal(generator.blocks[0].first_norm.by_z.weight, rest)


def test_spectral_norm_bounds_every_layer_but_the_classifier() -> None:
    discriminator = discriminator_of(spectral=True)
    _, images = inputs()
    with torch.no_grad():
        for _ in range(100):
            discriminator(images, LABELS)
    discriminator.eval()
    bounded = [layer for layer in discriminator.modules() if hasattr(layer, "parametrizations")]
    assert len(bounded) == 8  # two blocks of three convolutions, the adversarial layer, the embedding
    for layer in bounded:
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2).item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["data.channels=3", "network.generator.modulation=class_and_z", "objective.r1=0.1"],
        ["network.discriminator.spectral=true", "objective=hinge"],
    ],
)
def test_a_run_learns_several_tasks(
    compose: Callable[..., DictConfig], tmp_path: Path, overrides: list[str]
) -> None:
    cfg = compose("network=resnet", "strategy=retrain_and_align", "debug=smoke", *overrides)
    metrics = experiment.run(cfg, tmp_path)
    assert "accuracy" in metrics
    loaded = load_generator(tmp_path / "checkpoints" / "last.ckpt")
    assert loaded.seen
    assert {row["epoch"] for row in tiny.csv_rows(tmp_path) if row.get("d/loss")}
