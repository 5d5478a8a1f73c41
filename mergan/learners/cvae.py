"""The conditional variational autoencoder: one step, in which encoder and decoder learn together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mergan.config.ranges import Positive
from mergan.learners.base import ContinualLearner, Trained
from mergan.learners.readings import Terms
from mergan.networks.layers import ClassTable, inherit_classes
from mergan.scenarios.base import Scenario, Task
from mergan.strategies import Context, Drawn, Strategy
from mergan.system.errors import ConfigError


class Encoder(nn.Module):
    """images, labels -> trunk -> linear, plus an embedding of the label -> mean and log-variance of z.

    Args:
        trunk: images (B, C, S, S) -> features (B, num_features).
        num_features: see above.
        num_classes: classes of the data set.
        latent_dim: size of z.
    """

    def __init__(self, trunk: nn.Module, num_features: int, num_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(num_features, 2 * latent_dim)
        self.embedding = ClassTable(num_classes, 2 * latent_dim)
        nn.init.zeros_(self.embedding.weight)

    def forward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, C, S, S) in [-1, 1], labels (B,) -> mean and log-variance, (B, latent_dim) each."""
        mean, log_variance = (self.head(self.trunk(images)) + self.embedding(labels)).chunk(2, dim=1)
        return mean, log_variance


class CVAE(ContinualLearner):
    """A variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114) whose encoder and decoder know the
    class (Sohn et al. 2015, "Learning structured output representation using deep conditional generative
    models"). The decoder is the generator.

    The encoder gives q(z | x, c) = N(mean, diag(variance)), the generator p(x | z, c) = N(G(z, c), noise^2 I)
    and the prior is N(0, I). A step minimises the negative evidence lower bound per value of a picture:

        z = mean + sqrt(variance) * eps,   eps ~ N(0, I)
        L = sum_i w_i (||x_i - G(z_i, c_i)||^2 / (2 noise^2) + KL(q(z | x_i, c_i) || N(0, I))) / P
            + terms of the strategy

    The strategy shows the images x_i with the weights w_i, and P = channels * height * width. Dividing by P
    keeps the terms of the strategies in proportion for pictures of any size. A small `noise` makes
    reconstructions sharp and lets q depart from the prior: z ~ N(0, I) then falls where no image lies.

    Args:
        generator: the decoder, see mergan.networks.
        discriminator: its trunk becomes that of the encoder; its heads are not used.
        strategy, scenario: see ContinualLearner.
        num_classes: classes of the data set.
        noise: standard deviation of a pixel, in [-1, 1], around its mean at the end of a task.
        first_noise: the same when a task begins; it falls to `noise` by equal factors in the first half. As z
            gets its capacity slowly (see Burgess et al. 2018, arXiv 1804.03599), the decoder learns from c
            what c says, and z need not say it again.
        **shared: the other arguments of ContinualLearner.

    Raises:
        ConfigError: the discriminator has no trunk.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        strategy: Strategy,
        scenario: Scenario,
        *,
        num_classes: int,
        noise: Positive,
        first_noise: Positive,
        **shared: Any,
    ) -> None:
        super().__init__(generator, strategy, scenario, **shared)
        trunk, num_features = (getattr(discriminator, name, None) for name in ("trunk", "num_features"))
        if not isinstance(trunk, nn.Module) or not isinstance(num_features, int):
            raise ConfigError(
                f"network.discriminator: {type(discriminator).__name__} has no trunk and num_features, which "
                "learner=cvae needs (see mergan.networks); use another network"
            )
        self.encoder = Encoder(trunk, num_features, num_classes, self.latent_dim)
        self.noise, self.first_noise = noise, max(noise, first_noise)

    def trained(self) -> dict[str, Trained]:
        return {"g": Trained([self.generator, self.encoder], self.lr)}

    @property
    def compilable(self) -> list[nn.Module]:
        return [*super().compilable, self.encoder]

    def prepare_task(self, task: Task) -> None:
        if self.inherit_classes:
            inherit_classes(self.encoder, task.new, task.before)

    def _noise_now(self) -> float:
        """From `first_noise` down to `noise` by equal factors in the first half of a task."""
        return self.noise * (self.first_noise / self.noise) ** max(0.0, 1 - 2 * self.progress)

    def step(self, images: Tensor, labels: Tensor, context: Context) -> Terms:
        """One update of encoder and generator."""
        batch = self.strategy.training_batch(images, labels, context)
        mean, log_variance = self.encoder(batch.images, batch.labels)
        eps = torch.randn(mean.shape, generator=context.rng, device=mean.device)
        z = mean + (0.5 * log_variance).exp() * eps
        drawn = Drawn(z, batch.labels, self.generator(z, batch.labels))
        error = (batch.images - drawn.images).square().flatten(1)
        divergence = divergence_from_prior(mean, log_variance)
        terms = {
            "g/reconstruction": (batch.weights * error.mean(dim=1)).sum(),
            "g/divergence": (batch.weights * divergence).sum(),
        }
        noise = self._noise_now()
        loss = terms["g/reconstruction"] / (2 * noise**2) + terms["g/divergence"] / error.shape[1]
        for name, term in self.strategy.generator_terms(context, drawn).items():
            terms[f"g/{name}"] = term
            loss = loss + term
        return terms | self.minimise("g", loss)


def divergence_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)) in nats: two (B, D) -> (B,).

    Kingma & Welling 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
