"""Small-scale proxies for the training instabilities of large transformers."""

from evonas.evaluate.sensitivity import lr_sensitivity as lr_sensitivity
