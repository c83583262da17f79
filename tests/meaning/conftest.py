"""An optional group: without the model that `make meaning` installs it is not there, rather than skipped."""

from pathlib import Path

MODEL = Path(__file__).parents[2] / ".tools" / "minilm" / "complete"
collect_ignore = [] if MODEL.exists() else ["test_paraphrases.py"]
