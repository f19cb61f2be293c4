"""Why a score is not the one expected: the gap between a run and a published result or another run, in named parts."""
