"""Generator/discriminator pairs, one file per pair.

A pair is any two modules that a config in conf/network/ names and that follow this contract:

    generator = Generator(latent_dim, num_classes, channels, image_size, ...)
    generator(z: (B, latent_dim), labels: (B,)) -> images (B, channels, S, S) in [-1, 1]

    discriminator = Discriminator(num_classes, channels, image_size, ...)
    discriminator(images: (B, channels, S, S), labels: (B,))
        -> adversarial logits (B,), class logits (B, num_classes)

What belongs to a single class lies in the rows of a ClassTable or a ClassLinear (mergan.networks.layers), so
that it can be carried over by class.

A discriminator has the attributes `trunk`, which maps images to features (B, num_features), and
`num_features` where other learners than the acGAN are to use it, as the encoder of an autoencoder.

A discriminator that treats every sample by itself (no batch statistics) says so with the attribute
`sample_independent = True`; real and generated images then share one pass.
"""
