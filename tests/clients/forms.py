"""The forms in which tests of what becomes of connections are run."""

import pytest

# Clients held by descriptors, and in table slots: the `gateway` of conftest.py looks at it.
IN_BOTH_FORMS = pytest.mark.parametrize("descriptors", ["ordinary", "table"])
