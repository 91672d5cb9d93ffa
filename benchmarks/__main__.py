"""`python -m benchmarks [name ...] [--rounds N] [--list]`: the versions that run, then a table for each workload."""

import sys

from benchmarks.jitted import JITTED
from benchmarks.on_xla import ON_XLA
from benchmarks.science import SCIENCE
from benchmarks.timing import main
from benchmarks.training import TRAINING
from benchmarks.two_tiers import TWO_TIERS
from benchmarks.workloads import WORKLOADS, float64_in_jax, versions

if __name__ == "__main__":
    if not {"--list", "-h", "--help"} & set(sys.argv[1:]):
        print(versions(), end="\n\n")
    with float64_in_jax():
        status = main(sys.argv[1:], (*WORKLOADS, *JITTED, *ON_XLA, *TRAINING, *SCIENCE, *TWO_TIERS))
    raise SystemExit(status)
