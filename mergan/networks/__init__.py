"""Generator/discriminator pairs, one file per pair.

A pair is any two modules that a config in conf/network/ names and that follow this contract:

    generator = Generator(latent_dim, num_classes, channels, image_size, ...)
    generator(z: (B, latent_dim), labels: (B,)) -> images (B, channels, S, S) in [-1, 1]

    discriminator = Discriminator(num_classes, channels, image_size, ...)
    discriminator(images: (B, channels, S, S), labels: (B,))
        -> adversarial logits (B,), class logits (B, num_classes)

A discriminator that treats every sample by itself (no batch statistics) says so with the attribute
`sample_independent = True`; real and generated images then share one pass.
"""
