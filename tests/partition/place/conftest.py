"""The helpers of the tests next door: random modules, a numpy interpreter, toy vendors."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
