"""Training over all devices: the step that runs on one, with the batch cut into as many parts as there are devices.

The step is a plain function of NumPy calls. `tg.jit` with shardings lays its arguments out: parameters on every device,
a part of the batch on each. From that XLA finds that the gradients have to be summed over the devices, and the losses come
out as on one device, which is asserted at the end.

    python examples/data_parallel.py                        # over what devices jax finds
    python examples/data_parallel.py --devices 8            # 8 virtual devices on the processor
    python examples/data_parallel.py --processes 2          # two processes on this machine, each with its own devices

On several machines the same program is started on each, with where the first one listens:

    python examples/data_parallel.py --coordinator 10.0.0.1:1234 --processes 4 --process 0     # ... 1, 2, 3
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import tracegrad as tg
from tracegrad import nn

BATCH = 128
FEATURES = 8


# --- The net and its step: the same on any number of devices --------------------------------------------------------

net = nn.serial(nn.Dense(64), nn.tanh, nn.Dense(64), nn.tanh, nn.Dense(1))
opt = tg.optim.adam(1e-2)


def loss(params: Any, batch: Any) -> Any:
    """The mean over the batch, which is over all devices' parts of it."""
    x, y = batch
    return np.mean(nn.squared_error(net(params, x)[:, 0], y))


step = tg.train.make_step(loss, opt)


def batches(steps: int) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(steps):
        x = rng.uniform(-1, 1, (BATCH, FEATURES)).astype("float32")
        drawn.append((x, np.sin(3 * x[:, 0]) + x[:, 1] * x[:, 2]))
    return drawn


# --- Where it runs --------------------------------------------------------------------------------------------------


def train(devices: Sequence[Any], data: Sequence[tuple[Any, Any]]) -> list[float]:
    """The losses of training over these devices, of this process and of others."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(devices), ("data",))
    everywhere, in_parts = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec("data"))
    update = tg.jit(
        step, backend="xla", donate_argnums=0, in_shardings=(everywhere, in_parts), out_shardings=everywhere
    )

    def laid_out(array: Any, sharding: Any) -> Any:
        """An array that every process has whole, as one over all devices: each process gives its devices' parts."""
        return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

    state = tg.tree.map(lambda x: laid_out(x, everywhere), tg.train.start(net, opt, 0, (1, FEATURES)))
    losses = []
    for batch in data:
        state, metrics = update(state, tg.tree.map(lambda x: laid_out(x, in_parts), batch))
        losses.append(
            float(metrics["loss"])
        )  # waits: processors get into each other's way with several steps under way
    assert len(update.trace_log) == 1
    return losses


def start_processes(count: int, arguments: Sequence[str]) -> None:
    """Run this program in several processes on this machine, which find each other on the loopback interface."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, *arguments, "--processes", str(count), "--coordinator", address]
    children = [subprocess.Popen([*command, "--process", str(i)]) for i in range(count)]
    try:
        failed = [child.wait() for child in children]
    finally:
        for child in children:
            child.kill()
    if any(failed):
        raise SystemExit(f"processes ended with {failed}")


def main(arguments: Sequence[str] | None = None) -> list[float]:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--devices", type=int, help="virtual devices on the processor, for each process")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--coordinator", help="host:port of the first process; without it all are started here")
    parser.add_argument("--process", type=int, default=0, help="the number of this process, from 0")
    options = parser.parse_args(arguments)

    if options.devices:  # read by XLA when it starts
        os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={options.devices}"
        os.environ["JAX_PLATFORMS"] = "cpu"
    if options.processes > 1 and options.coordinator is None:
        rest = ["--steps", str(options.steps)] + (["--devices", str(options.devices)] if options.devices else [])
        start_processes(options.processes, rest)
        return []

    import jax

    if options.processes > 1:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    data = batches(options.steps)
    losses = train(jax.devices(), data)
    alone = train(jax.local_devices()[:1], data)
    np.testing.assert_allclose(losses, alone, rtol=1e-3)
    assert losses[-1] < 0.5 * losses[0]
    if options.process == 0:
        where = f"{len(jax.devices())} devices" + (
            f" of {options.processes} processes" if options.processes > 1 else ""
        )
        print(
            f"{where}: loss {losses[0]:.4f} before, {losses[-1]:.4f} after {options.steps} steps; the same on one device"
        )
    return losses


if __name__ == "__main__":
    main()
