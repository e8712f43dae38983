"""Predicted against measured memory of a device: records configurations on a GPU.

    python tests/benchmarks memory_model record --out FILE [--device cpu] [--only TEXT]

``record`` needs one GPU and some minutes; with ``--device cpu`` it takes small models and
counts live tensors.
"""

import argparse
from pathlib import Path


def main() -> None:
    """Record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    actions = parser.add_subparsers(dest="action", required=True)
    record = actions.add_parser("record")
    record.add_argument("--out", type=Path, required=True)
    record.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    record.add_argument("--workers", type=int, default=3)
    record.add_argument("--seconds", type=float, default=240.0, help="no configuration is begun after this")
    record.add_argument("--only", default="", help="configurations whose name holds this")
    args = parser.parse_args()
    if args.action == "record":
        from _memory_cases import CASES
        from _memory_record import record_all

        cases = [case for case in CASES if args.only in case.name]
        record_all(cases, args.out, device=args.device, workers=args.workers, seconds=args.seconds)


if __name__ == "__main__":
    main()
