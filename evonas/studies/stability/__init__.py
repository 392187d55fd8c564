"""Small-scale proxies for the training instabilities of large transformers."""

from evonas.training.sensitivity import lr_sensitivity as lr_sensitivity
