"""How long does `hgfctl --help` take beyond Python's own start? Interleaved, so that both meet the same machine.

python tests/benchmarks/startup.py [--rounds 20]
"""

import argparse
import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "hgfctl --help": ["-m", "hgfctl", "--help"],
    "hgfctl presets": ["-m", "hgfctl", "presets"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    seconds: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(parser.parse_args().rounds):
        for name, command in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - began)
    python = statistics.median(seconds["python -c pass"])
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"{name:16} {median:.3f} s (median of {len(values)}), {median - python:+.3f} s beyond Python")


if __name__ == "__main__":
    main()
