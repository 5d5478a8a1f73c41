"""The conditional variational autoencoder: encoder and decoder learn in one joint step."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from mergan.config.ranges import Positive
from mergan.learners.base import ContinualLearner
from mergan.learners.readings import Terms
from mergan.learners.updates import Trained
from mergan.networks.layers import ClassTable
from mergan.scenarios.base import Scenario
from mergan.strategies import Context, Drawn, Strategy, TrainingBatch
from mergan.system.errors import ConfigError

# Standard deviation of the means of the priors before training. Near each other (0.25), late classes are told
# apart by z alone, and joint retraining loses a quarter; far apart (1.0), fine-tuning keeps a third of them.
SEPARATION = 0.5


class Decoder(nn.Module):
    """eps ~ N(0, I) -> z ~ p(z | c) = N(mean_c, diag(scale_c^2)) -> image.

    Args:
        generator: z (B, latent_dim), labels (B,) -> images, see mergan.networks.
        num_classes: classes of the data set.
        latent_dim: size of z.
    """

    def __init__(self, generator: nn.Module, num_classes: int, latent_dim: int) -> None:
        super().__init__()
        self.generator = generator
        self.mean = ClassTable(num_classes, latent_dim)
        self.log_scale = ClassTable(num_classes, latent_dim)
        nn.init.normal_(self.mean.weight, std=SEPARATION)
        nn.init.zeros_(self.log_scale.weight)

    def forward(self, eps: Tensor, labels: Tensor) -> Tensor:
        """eps (B, latent_dim), labels (B,) -> images (B, C, S, S) in [-1, 1]."""
        return self.generator(self.mean(labels) + self.log_scale(labels).exp() * eps, labels)


class Encoder(nn.Module):
    """images -> trunk -> linear -> mean and log-variance of z.

    Args:
        trunk: images (B, C, S, S) -> features (B, num_features).
        num_features: see above.
        latent_dim: size of z.
    """

    def __init__(self, trunk: nn.Module, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(num_features, 2 * latent_dim)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """images (B, C, S, S) in [-1, 1] -> mean and log-variance, (B, latent_dim) each."""
        mean, log_variance = self.head(self.trunk(images)).chunk(2, dim=1)
        return mean, log_variance


class CVAE(ContinualLearner):
    """A variational autoencoder with a class-conditional prior and decoder.

    See Kingma & Welling 2014, arXiv 1312.6114, and for the conditioning Sohn et al. 2015, "Learning
    structured output representation using deep conditional generative models". The decoder is the generator
    together with the prior of its classes.

    The encoder gives q(z | x) = N(mean, diag(variance)), the generator p(x | z, c) = N(G(z, c), noise^2 I).
    The prior p(z | c) = N(mean_c, diag(scale_c^2)) is learned with them. A step minimises the negative
    evidence lower bound per image value:

        z = mean + sqrt(variance) * eps,   eps ~ N(0, I)
        L = sum_i w_i (||x_i - G(z_i, c_i)||^2 / (2 noise^2) + KL(q(z | x_i) || p(z | c_i))) / P
            + terms of the strategy

    The strategy provides the images x_i and the weights w_i; P = channels * height * width. Dividing by P
    keeps the strategies' terms in proportion for any image size. A small `noise` makes reconstructions
    sharp, but lets q move away from the prior. Samples from the prior then match no real image.

    Args:
        generator: the decoder, see `complete`.
        discriminator: its trunk becomes the trunk of the encoder; its heads are not used.
        strategy, scenario: see ContinualLearner.
        noise: standard deviation of a pixel around its mean, in [-1, 1].
        **shared: the other arguments of ContinualLearner.

    Raises:
        ConfigError: the discriminator has no trunk.
    """

    generator: Decoder
    offers = frozenset({"loss_on"})

    def __init__(
        self,
        generator: Decoder,
        discriminator: nn.Module,
        strategy: Strategy,
        scenario: Scenario,
        *,
        noise: Positive,
        **shared: Any,
    ) -> None:
        super().__init__(generator, strategy, scenario, **shared)
        trunk, num_features = (getattr(discriminator, name, None) for name in ("trunk", "num_features"))
        if not isinstance(trunk, nn.Module) or not isinstance(num_features, int):
            raise ConfigError(
                f"network.discriminator: {type(discriminator).__name__} has no trunk and num_features, which "
                "learner=cvae needs (see mergan.networks); use another network"
            )
        self.encoder = Encoder(trunk, num_features, self.latent_dim)
        self.noise = noise

    @classmethod
    def complete(cls, generator: nn.Module, num_classes: int, latent_dim: int) -> Decoder:
        """Put the class prior in front of the generator."""
        return Decoder(generator, num_classes, latent_dim)

    def trained(self) -> dict[str, Trained]:
        return {"g": Trained([self.generator, self.encoder], self.lr)}

    @property
    def compilable(self) -> list[nn.Module]:
        return [*super().compilable, self.encoder]

    def step(self, images: Tensor, labels: Tensor, context: Context) -> Terms:
        """Update encoder and generator once."""
        batch = self.strategy.training_batch(images, labels, context)
        loss, drawn, terms = self._bound(batch, context)
        for name, term in self.strategy.generator_terms(context, drawn).items():
            terms[f"g/{name}"] = term
            loss = loss + term
        return terms | self.minimise("g", loss)

    def loss_on(self, name: str, batch: TrainingBatch, context: Context) -> Tensor:
        """L of the batch."""
        return self._bound(batch, context)[0]

    def _bound(self, batch: TrainingBatch, context: Context) -> tuple[Tensor, Drawn, Terms]:
        """L without the terms of the strategy, what was reconstructed, and the parts of L."""
        mean, log_variance = self.encoder(batch.images)
        noise = context.latent(len(mean))
        centre, log_scale = self.generator.mean(batch.labels), self.generator.log_scale(batch.labels)
        # express q and its samples in coordinates in which the prior is N(0, I)
        mean, log_variance = (mean - centre) * (-log_scale).exp(), log_variance - 2 * log_scale
        eps = mean + (0.5 * log_variance).exp() * noise
        drawn = Drawn(eps, batch.labels, context.draw(eps, batch.labels))
        error = (batch.images - drawn.images).square().flatten(1)
        divergence = divergence_from_prior(mean, log_variance)
        terms: Terms = {
            "g/reconstruction": (batch.weights * error.mean(dim=1)).sum(),
            "g/divergence": (batch.weights * divergence).sum(),
        }
        loss = terms["g/reconstruction"] / (2 * self.noise**2) + terms["g/divergence"] / error.shape[1]
        return loss, drawn, terms


def divergence_from_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, diag(exp(log_variance))) || N(0, I)) in nats: two (B, D) -> (B,).

    Kingma & Welling 2014, appendix B.
    """
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1) / 2
