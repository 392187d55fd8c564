"""Activation sparsity at inference: linear layers that drop, token by token, the inputs that matter least."""

from evonas.studies.sparsity.loading import load as load
from evonas.studies.sparsity.report import SparsityReport as SparsityReport
from evonas.studies.sparsity.selection import Prefill as Prefill
from evonas.studies.sparsity.sparsify import sparsify as sparsify
from evonas.studies.sparsity.writing import SparsityWarning as SparsityWarning
