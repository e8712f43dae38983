"""Predicted against measured memory of a device: records configurations on a GPU, and evaluates a recording.

    python tests/benchmarks memory_model record --out FILE [--device cpu] [--only TEXT]
    python tests/benchmarks memory_model evaluate [FILE]

``record`` needs one GPU and some minutes; with ``--device cpu`` it takes small models and
counts live tensors.
"""

import argparse
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data" / "memory_h100.jsonl"


def main() -> int:
    """Record or evaluate; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    record = actions.add_parser("record")
    record.add_argument("--out", type=Path, required=True)
    record.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    record.add_argument("--workers", type=int, default=3)
    record.add_argument("--seconds", type=float, default=240.0, help="no configuration is begun after this")
    record.add_argument("--only", default="", help="configurations whose name holds this")
    evaluate = actions.add_parser("evaluate")
    evaluate.add_argument("file", type=Path, nargs="?", default=DATA)
    args = parser.parse_args()
    if args.action == "record":
        from _memory_cases import CASES
        from _memory_record import record_all

        cases = [case for case in CASES if args.only in case.name]
        record_all(cases, args.out, device=args.device, workers=args.workers, seconds=args.seconds)
        return 0
    from _memory_evaluate import evaluate_file

    return 0 if evaluate_file(args.file) else 1


if __name__ == "__main__":
    sys.exit(main())
