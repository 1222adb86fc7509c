"""How long the fuzzing takes, and what it draws: `make fuzz` sets both.

FUZZ_SECONDS is the length of the long run of raw bytes; the number of examples of the others goes with it. FUZZ_SEED is
what the random sources begin with.
"""

import os

USUAL_SECONDS = 10.0
SECONDS = float(os.environ.get("FUZZ_SECONDS", USUAL_SECONDS))
SEED = int(os.environ.get("FUZZ_SEED", "5"))


def examples(usual: int) -> int:
    """So many where the run is as long as usual."""
    return max(1, round(usual * SECONDS / USUAL_SECONDS))
