"""Activation sparsity at inference: linear layers that drop, token by token, the inputs that matter least."""

from evonas.studies.sparsity import Prefill as Prefill
from evonas.studies.sparsity import SparsityReport as SparsityReport
from evonas.studies.sparsity import SparsityWarning as SparsityWarning
from evonas.studies.sparsity import load as load
from evonas.studies.sparsity import sparsify as sparsify
