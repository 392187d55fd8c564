"""Small-scale proxies for the training instabilities of large transformers."""

from evonas.studies.stability import lr_sensitivity as lr_sensitivity
