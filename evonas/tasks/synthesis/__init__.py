"""Class-conditional image synthesis: the networks of BigGAN, their losses, averages and samples."""
