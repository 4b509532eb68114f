"""The modules of this example are beside its tests, in whichever way pytest imports these."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
