"""Running a model: the training loop, devices, timing, and what a learning rate does."""
