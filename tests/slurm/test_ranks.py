"""Jobs of several tasks: ranks on two nodes, their logs, and the end of all when one fails."""

import time

import pytest
from workflows import Workflow

SNAKEFILE = """
rule all:
    input: "out.txt"
rule ranks:
    output: "out.txt"
    resources: runtime=10, mem_mb=500, nodes=2, tasks=4, gpus=4
    shell: "$SUBMITIT_LAUNCH python rank.py && touch {output}"
"""
RENDEZVOUS = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.tensor(float(dist.get_rank()))
dist.all_reduce(total)
names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURMD_NODENAME", "OMP_NUM_THREADS")
gpus = filter(None, [os.environ.get("CUDA_VISIBLE_DEVICES")])
print(*(os.environ[name] for name in names), *gpus, total.item())
dist.destroy_process_group()
"""
ONE_FAILS = """
import os, sys, time
if os.environ["RANK"] == "2":
    print("rank 2 has had enough", file=sys.stderr)
    sys.exit(9)
time.sleep(300)
"""


@pytest.fixture
def ranks(cluster, tmp_path):
    def make(program: str) -> Workflow:
        work = Workflow(tmp_path, cluster, SNAKEFILE)
        (tmp_path / "rank.py").write_text(program)
        return work

    return make


def rank_logs(work):
    paths = sorted((work.folder / ".snakemake" / "submitit").glob("*/0_rank*.log"))
    return [path.read_text() for path in paths]


def test_ranks_meet_across_nodes(ranks, cluster):
    """Each sees all GPUs that the job has on its node, where this machine lets Slurm have devices."""
    gpus = " 0,1" if cluster.has_devices else ""
    work = ranks(RENDEZVOUS)
    assert work.run() == 0, work.log
    assert [log.strip() for log in rank_logs(work)] == [
        f"0 4 0 n0 1{gpus} 6.0",
        f"1 4 1 n0 1{gpus} 6.0",
        f"2 4 0 n1 1{gpus} 6.0",
        f"3 4 1 n1 1{gpus} 6.0",
    ]


def test_a_failing_rank_ends_the_job_and_its_log_is_shown(ranks):
    work = ranks(ONE_FAILS)
    began = time.monotonic()
    assert work.run() == 1
    assert time.monotonic() - began < 60, "the other ranks kept the job running"
    assert "rank 2 has had enough" in work.log
