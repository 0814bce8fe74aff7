"""Milliseconds per face and frame of every method in streaming mode, float32 and bfloat16.

    python benchmarks/streaming.py [--threads 2] [--device cpu] [--methods fapn,sofvsr]

Times belong to the machine they were taken on: processor time with one thread, real time with more,
the least of 12 frames. The last column is a ratio within this run and travels better.
"""

import argparse

import torch

from fvsr_bench import registry
from fvsr_bench.infer import choose_device
from fvsr_bench.speed import Speed, measure_speed


def main() -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--methods", default="", help="names with commas; default: all")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    wanted = [name for name in arguments.methods.split(",") if name]
    names = wanted or [n for n in registry.methods() if not registry.load_spec(n).hidden]
    print(f"One 40x40 face, x4, streaming; {device}, {torch.get_num_threads()} thread(s)\n")
    print("| method | fp32 ms | bf16 ms | fp32 / bf16 |")
    print("| --- | ---: | ---: | ---: |")
    for name in names:
        print(row(measure_speed(name, device)), flush=True)


def row(speed: Speed) -> str:
    """Format one method."""
    if speed.fp32 is None or speed.bf16 is None:
        return f"| {speed.method} | – | – | {speed.reason} |"
    gain = speed.fp32 / speed.bf16
    return f"| {speed.method} | {speed.fp32:.1f} | {speed.bf16:.1f} | {gain:.2f} |"


if __name__ == "__main__":
    main()
