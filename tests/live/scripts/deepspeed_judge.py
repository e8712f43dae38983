"""Says of each config on standard input, a JSON line each, why DeepSpeed does not read it, or nothing."""

import json
import logging
import sys

from deepspeed.runtime.config import DeepSpeedConfig

logging.disable(logging.CRITICAL)
answers = []
for line in sys.stdin:
    try:
        DeepSpeedConfig(json.loads(line))
    except Exception as error:  # whatever it raises is its answer
        answers.append(" ".join(f"{type(error).__name__}: {error}".split()))
    else:
        answers.append("")
sys.stdout.write("\nANSWERS" + json.dumps(answers) + "\n")
