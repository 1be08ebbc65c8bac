"""What makes equal runs equal bit by bit, before torch is asked for anything."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [(None, "AUTO,STRICT"), ("COMPATIBLE", "COMPATIBLE")])
def test_mkl_sums_in_one_order_unless_told_otherwise(given, expected):
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    environment |= {"MKL_CBWR": given} if given else {}
    code = "import kolors_course, os, sys; print(os.environ['MKL_CBWR'], 'torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout.split() == [expected, "False"], result.stderr
