"""A small language model: transformer, texts, loss, and the task made of them."""
