"""A real Slurm on one Debian or Ubuntu machine: controller, accounting and nodes with stand-in GPUs.

    python tests/slurm/local_cluster.py up        # prints the export line for your shell
    python tests/slurm/local_cluster.py status
    python tests/slurm/local_cluster.py down      # forget: down, and remove all state

Everything runs on 127.0.0.1 under one folder, beside any other Slurm of the machine. Needs root; missing
packages are installed with apt. The GPUs are character devices that nobody opens, so that Slurm hands out
CUDA_VISIBLE_DEVICES. Partition `low` is preempted by `main`, with a grace of 20 s and a requeue; `cancel` is
preempted by `main` as well: its jobs are cancelled at once.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

PACKAGES = {
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "munged": "munge",
    "mariadbd": "mariadb-server",
}
FOLDER = Path(os.environ.get("LOCAL_CLUSTER", "/tmp/stepladder-slurm"))


class CannotStart(RuntimeError):
    """This machine cannot run the cluster; the message says why."""


@dataclass
class LocalCluster:
    """Daemons of one cluster, by their pid files under `folder`."""

    folder: Path = FOLDER
    nodes: int = 2
    cpus: int = 16
    gpus: int = 4
    port: int = 27817

    @property
    def config(self) -> Path:
        return self.folder / "slurm.conf"

    @property
    def environment(self) -> dict[str, str]:
        """Of commands that talk to this cluster."""
        sbin = "/usr/sbin:/sbin"
        return {"SLURM_CONF": str(self.config), "PATH": f"{os.environ['PATH']}:{sbin}"}

    @property
    def node_names(self) -> list[str]:
        return [f"n{index}" for index in range(self.nodes)]

    def run(self, *command: str, check: bool = True) -> str:
        """A Slurm command; returns what it printed."""
        done = subprocess.run(
            command, env=os.environ | self.environment, check=check, text=True, capture_output=True
        )
        return done.stdout

    def answers(self, *command: str) -> bool:
        """Whether the command succeeds; raises if not."""
        self.run(*command)
        return True

    def up(self) -> None:
        """Start what is not running; returns when all nodes take jobs.

        Raises:
            CannotStart: no root, no apt, or a daemon did not come up.
        """
        if os.geteuid() != 0:
            raise CannotStart("a Slurm of its own needs root")
        for name in ("run", "log", "state", "db", *(f"spool/{node}" for node in self.node_names)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        install(self.folder / "log" / "apt.log")
        if not self.config.exists():
            self.write_config()
        self.start_munge()
        self.start_database()
        if not self.alive("slurmdbd"):
            self.start("slurmdbd", MYSQL_UNIX_PORT=str(self.folder / "db.sock"))
            self.wait_for("slurmdbd", lambda: self.answers("sacctmgr", "-n", "show", "cluster"))
        self.start_controller()
        for node in self.node_names:
            self.start_node(node)
        self.wait_for("nodes", self.ready)

    def ready(self) -> bool:
        """Whether every node takes jobs."""
        idle = self.run("sinfo", "-h", "-N", "-p", "main", "-t", "idle,mix,alloc", "-o", "%N").split()
        return set(idle) == set(self.node_names)

    def down(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Kill the jobs and stop the daemons."""
        if self.alive("slurmctld"):
            self.run("scancel", "--me", check=False)
            self.run("scontrol", "shutdown", check=False)
        for name in (*self.node_names, "slurmctld", "slurmdbd", "mariadbd", "munged"):
            self.stop(name, how)

    def forget(self) -> None:
        """Remove all state, such as what a killed cluster left behind; nothing is left to save."""
        self.down(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    def start_munge(self) -> None:
        key = self.folder / "munge.key"
        if not key.exists():
            key.write_bytes(secrets.token_bytes(128))
            key.chmod(0o400)
        if not self.alive("munged"):
            self.start(
                "munged",
                "--force",
                f"--key-file={key}",
                f"--socket={self.folder}/munge.sock",
                f"--pid-file={self.pid_file('munged')}",
                f"--log-file={self.folder}/log/munged.log",
                f"--seed-file={self.folder}/munge.seed",
            )

    def start_database(self) -> None:
        if self.alive("mariadbd"):
            return
        data, sock = self.folder / "db", self.folder / "db.sock"
        if not (data / "mysql").exists():
            shutil.chown(data, "mysql")
            options = ["--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db"]
            self.run("mariadb-install-db", *options, "--auth-root-authentication-method=socket")
        options = [
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            f"--socket={sock}",
            "--skip-networking",
        ]
        with (self.folder / "log" / "mariadbd.log").open("a") as log:
            daemon = subprocess.Popen(
                ["mariadbd", *options, f"--pid-file={self.folder}/db.pid", "--innodb-buffer-pool-size=64M"],
                env=os.environ | self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.pid_file("mariadbd").write_text(str(daemon.pid))
        grant = (
            "create database if not exists slurm;"
            "create user if not exists slurm@localhost identified by 'slurm';"
            "grant all on slurm.* to slurm@localhost"
        )
        client = ["mariadb", "--no-defaults", "-S", str(sock), "-e", grant]
        self.wait_for("mariadbd", lambda: self.answers(*client))

    def start_controller(self) -> None:
        """slurmctld, with its cluster, accounts and QOS in the database."""
        if self.alive("slurmctld"):
            return
        self.run("sacctmgr", "-i", "add", "cluster", "ladder", check=False)
        self.start("slurmctld", "-f", str(self.config))
        self.wait_for("slurmctld", lambda: "UP" in self.run("scontrol", "ping"))
        for what in (["qos", "urgent"], ["account", "lab"], ["user", "root", "account=lab"]):
            self.run("sacctmgr", "-i", "add", *what, check=False)

    def start_node(self, node: str) -> None:
        if not self.alive(node):
            self.start("slurmd", "-N", node, "-f", str(self.config))

    def start(self, program: str, *arguments: str, **environment: str) -> None:
        """Start a daemon that goes to the background by itself."""
        done = subprocess.run(
            [program, *arguments],
            env=os.environ | self.environment | environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            close_fds=True,
        )
        if done.returncode:
            raise CannotStart(f"{program}: {done.stderr.strip()}")

    def stop(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End a daemon (`slurmctld`, `slurmdbd`, or a node's name) and wait for its end."""
        process = self.process(name)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(timeout=20)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout=10)

    def pid_file(self, name: str) -> Path:
        return self.folder / "run" / f"{name}.pid"

    def process(self, name: str) -> psutil.Process | None:
        """The daemon, if it runs; a pid that was given to another program since is not it."""
        program = "slurmd" if name in self.node_names else name
        try:
            process = psutil.Process(int(self.pid_file(name).read_text()))
            running = process.name() == program and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.NoSuchProcess):
            return None
        return process if running else None

    def alive(self, name: str) -> bool:
        return self.process(name) is not None

    def wait_for(self, what: str, done, seconds: float = 40) -> None:
        """Until `done()` is true; a failing command counts as not yet.

        Raises:
            CannotStart: after `seconds`.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if done():
                    return
            except (OSError, subprocess.CalledProcessError):
                pass
            time.sleep(0.1)
        raise CannotStart(f"{what} did not come up within {seconds:.0f} s; see {self.folder}/log")

    @property
    def has_devices(self) -> bool:
        """Whether the GPUs are devices, so that jobs get CUDA_VISIBLE_DEVICES."""
        return "File=" in (self.folder / "gres.conf").read_text()

    def gpu_lines(self) -> str:
        """Devices where the kernel lets us make them; a bare count (no CUDA_VISIBLE_DEVICES) elsewhere."""
        paths = [self.folder / f"gpu{index}" for index in range(self.gpus)]
        try:
            for index, path in enumerate(paths):
                if not path.exists():
                    os.mknod(path, 0o20666, os.makedev(195, index))
        except OSError:
            return f"Name=gpu Count={self.gpus}\n"
        return f"Name=gpu Type=h100 File={self.folder}/gpu[0-{self.gpus - 1}]\n"

    def write_config(self) -> None:
        folder, host, last = self.folder, socket.gethostname().split(".")[0], self.nodes - 1
        memory = int(psutil.virtual_memory().total / 2**20 * 0.9)
        gres = self.gpu_lines()
        kind = "gpu:h100" if "Type" in gres else "gpu"
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={self.port + 100 + index} "
            f"CPUs={self.cpus} RealMemory={memory} Gres={kind}:{self.gpus} Feature=fast State=UNKNOWN"
            for index, node in enumerate(self.node_names)
        )
        # cred_expire: a requeued job waits that long (2 minutes by default) before it is started again
        self.config.write_text(
            f"""ClusterName=ladder
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={self.port}
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.sock,cred_expire=5
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={self.pid_file("slurmctld")}
SlurmdPidFile={folder}/run/%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
DefMemPerCPU=256
SlurmdParameters=config_overrides
SlurmctldParameters=preempt_send_user_signal
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=2,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
SlurmdTimeout=30
KillWait=5
MinJobAge=300
MaxArraySize=20001
MaxJobCount=40000
MpiDefault=none
GresTypes=gpu
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={self.port + 2}
AccountingStoragePass={folder}/munge.sock
AccountingStorageTRES=gres/gpu
{nodes}
PartitionName=main Nodes=n[0-{last}] Default=YES MaxTime=INFINITE PriorityTier=10
PartitionName=low Nodes=n[0-{last}] MaxTime=INFINITE PriorityTier=1 GraceTime=20
PartitionName=cancel Nodes=n[0-{last}] MaxTime=INFINITE PriorityTier=1 PreemptMode=CANCEL
"""
        )
        (folder / "gres.conf").write_text(gres)
        database = folder / "slurmdbd.conf"
        database.write_text(
            f"""AuthType=auth/munge
AuthInfo=socket={folder}/munge.sock
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={self.port + 2}
SlurmUser=root
PidFile={self.pid_file("slurmdbd")}
LogFile={folder}/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
"""
        )
        database.chmod(0o600)


def install(log: Path) -> None:
    """Packages whose programs are missing, without letting apt start any service.

    Raises:
        CannotStart: apt is missing or failed.
    """
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    missing = [package for program, package in PACKAGES.items() if not shutil.which(program, path=path)]
    if not missing:
        return
    if not shutil.which("apt-get"):
        raise CannotStart(f"{', '.join(missing)} missing, and there is no apt-get to install them")
    policy = Path("/usr/sbin/policy-rc.d")
    ours = not policy.exists()
    if ours:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        with log.open("a") as file:
            for command in (["update", "-q"], ["install", "-y", "-q", "--no-install-recommends", *missing]):
                subprocess.run(
                    ["apt-get", *command],
                    env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"},
                    stdout=file,
                    stderr=file,
                    check=True,
                )
    except (OSError, subprocess.CalledProcessError) as error:
        raise CannotStart(f"apt-get could not install {', '.join(missing)} ({error}); see {log}") from None
    finally:
        if ours:
            policy.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["up", "down", "forget", "status"])
    what = parser.parse_args().what
    cluster = LocalCluster()
    if what == "up":
        cluster.up()
        print(f"export SLURM_CONF={cluster.config}")
    elif what == "down":
        cluster.down()
    elif what == "forget":
        cluster.forget()
    else:
        print(cluster.run("sinfo"))


if __name__ == "__main__":
    main()
