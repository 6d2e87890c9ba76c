"""What two processes compute is what one computes; shown by a script under torchrun that writes its results to files."""

import json
import os
import subprocess
import sys

import torch

SCRIPT = """
import json, os, sys
import torch
import torch.distributed as dist
from torch import nn
from fullrank import distributed

def main(out):
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    data = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    net = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(20, 2)).double()
    distributed.synchronise_batch_norm(net)
    z = distributed.gather(net(data[rank * 4 : rank * 4 + 4]))
    loss = (z.T @ z).square().sum()
    loss.backward()
    grads = []
    for p in net.parameters():
        dist.all_reduce(p.grad)
        grads.append((p.grad / 2).flatten())
    plain = distributed.mean(torch.tensor(float(rank)))
    result = {"loss": loss.item(), "grads": torch.cat(grads).tolist(), "mean": net[1].running_mean.tolist(),
              "var": net[1].running_var.tolist(), "average": plain.item(), "keys": sorted(net.state_dict())}
    json.dump(result, open(f"{out}/{rank}.json", "w"))

if __name__ == "__main__":
    main(sys.argv[1])
    sys.stdout.flush()
    os._exit(0)
"""


def one_process():
    torch.manual_seed(0)
    data = torch.randn(8, 3, 4, 4, dtype=torch.float64)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3), torch.nn.BatchNorm2d(5), torch.nn.Flatten(), torch.nn.Linear(20, 2)
    ).double()
    z = net(data)
    loss = (z.T @ z).square().sum()
    loss.backward()
    return net, loss


def test_gather_and_batch_norm_of_two_processes_equal_one(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        str(script),
        str(tmp_path),
    ]
    subprocess.run(command, env=environment, check=False, capture_output=True, timeout=120)
    net, loss = one_process()
    grads = torch.cat([p.grad.flatten() for p in net.parameters()])
    for rank in range(2):
        got = json.loads((tmp_path / f"{rank}.json").read_text())
        assert abs(got["loss"] - loss.item()) < 1e-9 * abs(loss.item())
        torch.testing.assert_close(torch.tensor(got["grads"], dtype=torch.float64), grads, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(torch.tensor(got["mean"], dtype=torch.float64), net[1].running_mean, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(torch.tensor(got["var"], dtype=torch.float64), net[1].running_var, rtol=1e-12, atol=1e-12)
        assert got["average"] == 0.5
        assert got["keys"] == sorted(net.state_dict())
