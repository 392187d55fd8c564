"""Activation sparsity at inference: linear layers that drop, token by token, the inputs that matter least."""

from evonas.sparsity.attach import sparsify as sparsify
from evonas.sparsity.report import SparsityReport as SparsityReport
from evonas.sparsity.selection import Prefill as Prefill
