"""A Slurm cluster of one node in a folder: controller and node daemon, without accounts or authentication."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from valve_loadgen.lab import free_port

PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun")
PATIENCE_S = 60.0
# The example's resources, whatever the machine has.
CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}
SlurmctldPort={controller}
SlurmUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SlurmdParameters=config_overrides
KillWait=60
NodeName={host} CPUs=8 RealMemory=65536 Port={node} Feature=valve
PartitionName=harvest Nodes={host} PriorityTier=1
"""


def missing() -> str | None:
    """Why there is no Slurm here; None if there is."""
    absent = [program for program in PROGRAMS if shutil.which(program) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (Debian: apt install slurmctld slurmd slurm-client)"
    return "Slurm's daemons are run by root here" if os.geteuid() else None


class Slurm:
    """`submit` queues a job, `ask` runs any of Slurm's commands."""

    def __init__(self, folder: Path) -> None:
        self._environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def ask(self, *command: str | Path) -> str:
        """Its output. Raises CalledProcessError."""
        done = subprocess.run(
            command, env=self._environment, text=True, capture_output=True, timeout=PATIENCE_S, check=True
        )
        return done.stdout.strip()

    def submit(self, script: Path, output: Path, *arguments: str) -> str:
        """The job's number."""
        return self.ask("sbatch", "--parsable", f"--output={output}", script, *arguments)

    def state(self, job: str) -> str:
        """RUNNING, COMPLETED and so on."""
        return self.ask("scontrol", "show", "job", job).partition("JobState=")[2].split()[0]


@contextmanager
def started(folder: Path) -> Iterator[Slurm]:
    """A cluster; what it starts ends with it."""
    values = {"host": os.uname().nodename, "folder": folder}
    ports = {"controller": free_port(), "node": free_port()}
    (folder / "slurm.conf").write_text(CONFIGURATION.format(**values, **ports))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    daemons = []
    try:
        for name in ("slurmctld", "slurmd"):
            command = [name, "-D", "-f", str(folder / "slurm.conf")]
            with (folder / f"{name}.log").open("wb") as log:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
        yield Slurm(folder)
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait(PATIENCE_S)
