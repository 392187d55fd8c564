"""Checks for what users add to evonas, the same that evonas runs over its own.

Each ``check_...`` raises ``AssertionError`` with a sentence that says what is wrong; see docs/extending.md. The tuples
of single checks are for test suites that want a case for each.
"""

from evonas.testing.index_sets import INDEX_SET_CHECKS as INDEX_SET_CHECKS
from evonas.testing.index_sets import check_index_set as check_index_set
from evonas.testing.moments import MOMENT_CHECKS as MOMENT_CHECKS
from evonas.testing.primitives import ELEMENTWISE_CHECKS as ELEMENTWISE_CHECKS
from evonas.testing.primitives import check_primitive as check_primitive
from evonas.testing.search import check_objective as check_objective
from evonas.testing.search import check_protocol as check_protocol
from evonas.testing.search import check_task as check_task
from evonas.testing.steering import check_steering_method as check_steering_method
