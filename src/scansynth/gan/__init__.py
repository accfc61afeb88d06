"""The generator and the discriminator: networks, losses, one training loop."""
