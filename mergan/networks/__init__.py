"""Generator/discriminator pairs, one file per pair.

A pair consists of two modules that a config in conf/network/ names and that follow this contract:

    generator = Generator(latent_dim, num_classes, channels, image_size, ...)
    generator(z: (B, latent_dim), labels: (B,)) -> images (B, channels, S, S) in [-1, 1]

    discriminator = Discriminator(num_classes, channels, image_size, ...)
    discriminator(images: (B, channels, S, S), labels: (B,))
        -> adversarial logits (B,), class logits (B, num_classes)

Parameters of a single class are rows of a ClassTable or a ClassLinear (mergan.networks.layers), so they can
be carried over by class.

If learners other than the acGAN are to use a discriminator, e.g. as the encoder of an autoencoder, it needs
the attributes `trunk`, which maps images to features (B, num_features), and `num_features`.

A discriminator that processes every sample independently (no batch statistics) sets the attribute
`sample_independent = True`; real and generated images then share one pass.
"""
