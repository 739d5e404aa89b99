"""Shared by the tests of all passes: random modules, a numpy interpreter, toy vendors.

The helpers are the modules beside this file. Tests of a pass stand in the folder of its room;
those of the whole pipeline stand here.
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
