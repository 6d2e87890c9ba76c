"""`torchrun --nproc-per-node 2 -m fullrank train ...`: one run of two processes, and each message once."""

import json
import os
import subprocess
import sys

from fullrank.checkpoint.save import load_checkpoint


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fullrank"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    return subprocess.run([*command, *arguments], env=environment, check=False, capture_output=True, text=True, timeout=120)


def test_two_processes_train_one_run_and_say_things_once(video_folder, small_flags, tmp_path):
    flags = ["--data.path", str(video_folder), "--out", str(tmp_path / "run"), "--max-steps", "2", "--no-report"]
    done = torchrun("train", "vicreg.video", *flags, *small_flags, "--json", str(tmp_path / "out.json"))
    assert load_checkpoint(tmp_path / "run")["step"] == 2, done.stderr[-2000:]
    assert json.loads((tmp_path / "out.json").read_text())["steps"] == 2
    assert "with 2 processes" in done.stderr
    assert done.stderr.count("run folder: ") == 1
    assert done.stdout.count("2 steps, ") == 1


def test_a_mistake_is_said_once_and_ends_both(tmp_path):
    done = torchrun("train", "vicreg.tiny", "--out", str(tmp_path / "run"), "--data.batch-size", "33")
    assert done.returncode != 0
    assert done.stderr.count("must be a multiple of accumulate_steps x processes = 2. Got 33") == 1
    assert not (tmp_path / "run").exists()
