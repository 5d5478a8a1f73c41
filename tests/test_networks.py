"""The generator/discriminator pairs and the blocks they share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from tiny import chosen
from torch import Tensor, nn

from mergan.config.instantiate import part
from mergan.networks.fast import pair_products, upsample_conv
from mergan.networks.fast.thin import ThinConvTranspose2d, ThinInputConv2d, ThinOutputConv2d
from mergan.networks.fast.upsample_conv import UpsampleConv2d
from mergan.networks.layers import ClassTable, ConditionalNorm, inherit_classes
from mergan.system.errors import ConfigError

LATENT, CLASSES = 6, 5
PAIRS = pytest.mark.parametrize("pair", ["dcgan", "upsample", "resnet"])


def generator_of(pair: str, **arguments: Any) -> nn.Module:
    """A generator of conf/network/ for grey images of 16 pixels, with some arguments of its own."""
    shape = {"latent_dim": LATENT, "num_classes": CLASSES, "channels": 1, "image_size": 16}
    given = shape | chosen("network.generator", f"network={pair}") | arguments
    return part("network.generator", f"network={pair}", **given)


def discriminator_of(pair: str, **arguments: Any) -> nn.Module:
    """Its counterpart."""
    shape = {"num_classes": CLASSES, "channels": 1, "image_size": 16}
    given = shape | chosen("network.discriminator", f"network={pair}") | arguments
    return part("network.discriminator", f"network={pair}", **given)


def inputs(count: int = 10, latent_dim: int = LATENT) -> tuple[Tensor, Tensor]:
    """z and labels, every class among them, in mixed order."""
    rng = torch.Generator().manual_seed(3)
    labels = torch.randperm(count, generator=rng) % CLASSES
    return torch.randn(count, latent_dim, generator=rng), labels


@PAIRS
@pytest.mark.parametrize("size", [16, 32, 64, 128])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pairs_follow_the_contract_of_shapes(pair: str, size: int, channels: int) -> None:
    z, labels = inputs()
    images = generator_of(pair, channels=channels, image_size=size, width=2)(30 * z, labels)
    assert images.shape == (10, channels, size, size)
    assert images.dtype == torch.float32
    assert -1 <= images.min() < images.max() <= 1
    discriminator = discriminator_of(pair, channels=channels, image_size=size, width=2)
    adversarial, classes = discriminator(images, labels)
    assert adversarial.shape == (10,)
    assert classes.shape == (10, CLASSES)


@PAIRS
@pytest.mark.parametrize("size", [0, 8, 28, 48, 256])
def test_other_image_sizes_are_refused(pair: str, size: int) -> None:
    for build in (generator_of, discriminator_of):
        with pytest.raises(ConfigError, match=rf"image_size={size}: use 16, 32, 64 or 128"):
            build(pair, image_size=size)


@PAIRS
def test_generated_images_depend_on_z_and_on_the_label(pair: str) -> None:
    torch.manual_seed(0)
    generator = generator_of(pair, width=4).eval()
    for table in generator.modules():
        if isinstance(table, ClassTable):
            nn.init.normal_(table.weight, mean=1)  # rows that differ, as after training
    z, _ = inputs(2)
    same, other_z = generator(z[:1], torch.tensor([1])), generator(z[1:], torch.tensor([1]))
    other_label = generator(z[:1], torch.tensor([2]))
    assert not torch.allclose(same, other_z, atol=1e-4)
    assert not torch.allclose(same, other_label, atol=1e-4)


@PAIRS
def test_only_discriminators_without_batch_statistics_call_their_samples_independent(
    pair: str,
) -> None:
    discriminator = discriminator_of(pair, width=4)
    for dropout in (layer for layer in discriminator.modules() if isinstance(layer, nn.Dropout2d)):
        dropout.p = 0.0
    _, labels = inputs()
    images = torch.rand(10, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    discriminator(images, labels)  # spectral norm turns its vectors in every pass of the training mode
    discriminator.train(not discriminator.sample_independent)
    whole, part = discriminator(images, labels)[0][:4], discriminator(images[:4], labels[:4])[0]
    assert torch.allclose(whole, part, atol=1e-6) == discriminator.sample_independent


def randomised_norm(kind: str, by_z: int | None = None) -> ConditionalNorm:
    torch.manual_seed(1)
    norm = ConditionalNorm(8, CLASSES, kind, by_z, groups=4)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


def features(count: int) -> Tensor:
    return 3 * torch.randn(count, 8, 4, 4, generator=torch.Generator().manual_seed(2)) + 1


def test_batch_norm_by_class_equals_normalising_each_class_by_itself() -> None:
    norm, x = randomised_norm("batch"), features(10)
    z, labels = inputs()
    expected = torch.empty_like(x)
    for label in range(CLASSES):
        mine = labels == label
        plain = nn.functional.batch_norm(x[mine], None, None, training=True)
        scale, shift = norm.scale.weight[label], norm.shift.weight[label]
        expected[mine] = plain * scale[:, None, None] + shift[:, None, None]
    assert torch.allclose(norm(x, labels, z), expected, atol=1e-5)
    assert torch.allclose(norm.eval()(x, labels, z), expected, atol=1e-5)


def test_group_norm_leaves_other_samples_out() -> None:
    norm, x = randomised_norm("group"), features(6)
    (z, _), labels = inputs(6), torch.tensor([0, 1, 2, 3, 4, 0])
    alone = torch.cat([norm(x[i : i + 1], labels[i : i + 1], z[i : i + 1]) for i in range(6)])
    assert torch.allclose(norm(x, labels, z), alone, atol=1e-5)
    plain = nn.functional.group_norm(x, 4)
    expected = (
        plain * norm.scale.weight[labels][:, :, None, None] + norm.shift.weight[labels][:, :, None, None]
    )
    assert torch.allclose(norm(x, labels, z), expected, atol=1e-5)


def test_unknown_kind_of_norm_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"network\.generator\.norm=layer: use group or batch"):
        generator_of("dcgan", norm="layer")


@pytest.mark.parametrize("projection", [True, False])
def test_projection_makes_the_adversarial_logit_depend_on_the_label(projection: bool) -> None:
    torch.manual_seed(0)
    discriminator = discriminator_of("dcgan", width=4, spectral=True, projection=projection).eval()
    images = torch.rand(1, 1, 16, 16) * 2 - 1
    (first, first_classes), (second, second_classes) = (
        discriminator(images, torch.tensor([label])) for label in (0, 1)
    )
    assert torch.equal(first, second) != projection
    assert torch.equal(first_classes, second_classes)


@pytest.mark.parametrize("spectral", [True, False])
def test_spectral_norm_bounds_the_largest_singular_value(spectral: bool) -> None:
    torch.manual_seed(0)
    discriminator = discriminator_of("dcgan", width=4, spectral=spectral, projection=False)
    with torch.no_grad():
        for parameter in discriminator.parameters():
            parameter.mul_(30)
        for _ in range(50):
            discriminator(torch.zeros(1, 1, 16, 16), torch.tensor([0]))
    conv = discriminator.eval().trunk[2]
    assert isinstance(conv, nn.Conv2d)
    norm = torch.linalg.matrix_norm(conv.weight.flatten(1), ord=2).item()
    assert (abs(norm - 1) < 0.02) == spectral


def test_new_classes_start_from_the_mean_of_the_past_ones() -> None:
    generator = generator_of("dcgan", width=4)
    tables = [table for table in generator.modules() if isinstance(table, ClassTable)]
    assert len(tables) == 4  # scale and shift of both norms
    for table in tables:
        nn.init.normal_(table.weight)
    before = [table.weight.detach().clone() for table in tables]
    inherit_classes(generator, new=(4, 1), before=(0, 2))
    for table, old in zip(tables, before, strict=True):
        mean = (old[0] + old[2]) / 2
        assert torch.allclose(table.weight[1], mean) and torch.allclose(table.weight[4], mean)
        assert torch.equal(table.weight[[0, 2, 3]], old[[0, 2, 3]])


def test_first_classes_keep_their_initial_rows() -> None:
    generator = generator_of("upsample", width=2)
    before = generator.embedding.weight.detach().clone()
    inherit_classes(generator, new=(0, 1), before=())
    assert torch.equal(generator.embedding.weight, before)


def outcome(conv: nn.Module, x: Tensor) -> list[Tensor]:
    """The output at x, and the gradients of input and parameters."""
    points = x.clone().requires_grad_()
    y = conv(points)
    return [y, *torch.autograd.grad(y.sin().sum(), [points, *conv.parameters()])]


def penalty_gradients(conv: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The gradients, at x, of the squared gradient of the input."""
    points = x.clone().requires_grad_()
    (by_input,) = torch.autograd.grad(conv(points).sin().sum(), points, create_graph=True)
    return torch.autograd.grad(by_input.square().sum(), [points, *conv.parameters()])


def assert_same(ours: Iterable[Tensor], theirs: Iterable[Tensor]) -> None:
    for mine, yours in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, yours, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(3, 1, 4, 2, 1), (4, 3, 4, 2, 1), (2, 2, 5, 3, 0)])
def test_thin_transposed_convolution_equals_the_plain_one(shape: tuple[int, ...]) -> None:
    before, after, kernel, stride, padding = shape
    torch.manual_seed(0)
    thin = ThinConvTranspose2d(before, after, kernel, stride=stride, padding=padding).double()
    plain = nn.ConvTranspose2d(before, after, kernel, stride=stride, padding=padding).double()
    plain.load_state_dict(thin.state_dict())
    x = torch.randn(2, before, 5, 4, dtype=torch.float64)
    assert_same(outcome(thin, x), outcome(plain, x))
    assert_same(penalty_gradients(thin, x), penalty_gradients(plain, x))
    rows = x.contiguous(memory_format=torch.channels_last)
    assert_same(outcome(thin, rows), outcome(plain, x))


@pytest.mark.parametrize("shape", [(1, 3, 4, 2, 1), (3, 4, 4, 2, 1), (2, 2, 5, 3, 0)])
def test_thin_input_convolution_equals_the_plain_one(shape: tuple[int, ...]) -> None:
    before, after, kernel, stride, padding = shape
    torch.manual_seed(0)
    thin = ThinInputConv2d(before, after, kernel, stride=stride, padding=padding).double()
    plain = nn.Conv2d(before, after, kernel, stride=stride, padding=padding).double()
    plain.load_state_dict(thin.state_dict())
    x = torch.randn(2, before, 9, 8, dtype=torch.float64)
    assert_same(outcome(thin, x), outcome(plain, x))
    assert_same(penalty_gradients(thin, x), penalty_gradients(plain, x))


@pytest.mark.parametrize("shape", [(3, 1, 3, 1), (4, 3, 5, 2), (2, 2, 3, 0)])
def test_thin_output_convolution_equals_the_plain_one(shape: tuple[int, ...]) -> None:
    before, after, kernel, padding = shape
    torch.manual_seed(0)
    thin = ThinOutputConv2d(before, after, kernel, padding=padding).double()
    plain = nn.Conv2d(before, after, kernel, padding=padding).double()
    plain.load_state_dict(thin.state_dict())
    x = torch.randn(2, before, 9, 8, dtype=torch.float64)
    assert_same(outcome(thin, x), outcome(plain, x))
    assert_same(penalty_gradients(thin, x), penalty_gradients(plain, x))


@pytest.mark.parametrize(
    ("kind", "dtype"), [(ThinInputConv2d, torch.bfloat16), (ThinConvTranspose2d, torch.float32)]
)
def test_thin_convolutions_under_autocast_keep_the_types_of_their_gradients(
    kind: type[nn.Module], dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    thin, x = kind(1, 16, 4, stride=2, padding=1), torch.randn(2, 1, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        y, *gradients = outcome(thin, x)
    assert y.dtype == dtype
    assert {gradient.dtype for gradient in gradients} == {torch.float32}
    for mine, exact in zip(gradients, outcome(thin, x)[1:], strict=True):
        torch.testing.assert_close(mine, exact, rtol=0.1, atol=0.1)


def up_sampling_pair() -> tuple[UpsampleConv2d, nn.Module, Tensor]:
    """The block, its two steps with the same parameters, and an input (5, 3, 6, 4)."""
    torch.manual_seed(0)
    fast = UpsampleConv2d(3, 2).double()
    plain = nn.Conv2d(3, 2, kernel_size=3, padding=1).double()
    plain.load_state_dict(fast.state_dict())
    return fast, nn.Sequential(nn.Upsample(scale_factor=2), plain), torch.randn(5, 3, 6, 4).double()


@pytest.mark.parametrize("chunk", [1, 5000, 2**22])  # bytes: one sample at a time, two, all
def test_up_sampling_convolution_equals_its_two_steps(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_products, "CHUNK", chunk)
    fast, plain, x = up_sampling_pair()
    assert_same(outcome(fast, x), outcome(plain, x))


@pytest.mark.parametrize(("height", "width"), [(2, 2), (1, 4), (6, 3)])  # a single pair; odd sides
def test_up_sampling_convolution_of_other_sizes(height: int, width: int) -> None:
    fast, plain, x = up_sampling_pair()
    part = x[:, :, :height, :width]
    assert_same(outcome(fast, part), outcome(plain, part))


def test_up_sampling_convolution_of_no_pictures_gives_none() -> None:
    fast, plain, x = up_sampling_pair()
    assert_same(outcome(fast, x[:0]), outcome(plain, x[:0]))


def test_transposed_kernel_equals_up_sampling_and_convolution() -> None:
    fast, plain, x = up_sampling_pair()
    kernel = upsample_conv.transposed_kernel(fast.weight)
    image = nn.functional.conv_transpose2d(x, kernel, fast.bias, stride=2, padding=1)
    assert_same([image], [plain(x)])


def test_up_sampling_convolution_under_autocast_is_near_the_exact_one() -> None:
    fast, plain, x = up_sampling_pair()
    fast, plain, x = fast.float(), plain.float(), x.float()
    points, exact_points = x.clone().requires_grad_(), x.clone().requires_grad_()
    exact = plain(exact_points)
    weights = torch.randn_like(exact)
    with torch.autocast("cpu", torch.bfloat16):
        y = fast(points)
    assert y.dtype == torch.bfloat16
    assert (y - exact).norm() < 0.01 * exact.norm()  # bfloat16 itself rounds by up to 0.4 %
    mine = torch.autograd.grad(y, [points, *fast.parameters()], weights.to(y.dtype))
    theirs = torch.autograd.grad(exact, [exact_points, *plain.parameters()], weights)
    for one, other in zip(mine, theirs, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("by_z", [None, LATENT])
def test_conditional_norm_equals_the_plain_formula(by_z: int | None) -> None:
    norm, x = randomised_norm("group", by_z).double(), features(6).double()
    (z, _), labels = inputs(6), torch.tensor([0, 1, 2, 3, 4, 0])
    z = z.double()

    def plain(points: Tensor) -> Tensor:
        scale, shift = norm.scale(labels), norm.shift(labels)
        if norm.by_z is not None:
            scale, shift = scale + z @ norm.by_z.weight[:8].t(), shift + z @ norm.by_z.weight[8:].t()
        return (
            nn.functional.group_norm(points, norm.groups) * scale[:, :, None, None] + shift[:, :, None, None]
        )

    def values(forward: Callable[[Tensor], Tensor]) -> list[Tensor]:
        points = x.clone().requires_grad_()
        y = forward(points)
        return [y, *torch.autograd.grad(y.sin().sum(), [points, *norm.parameters()])]

    assert_same(values(lambda points: norm(points, labels, z)), values(plain))
