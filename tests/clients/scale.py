"""How hard a test of hostile input or of a fault tries: a short form on every run of scripts/test,
the full one with scripts/soak."""

import os
import resource
from pathlib import Path

FULL = os.environ.get("TIDEGATE_SOAK") == "full"
MIB = 1 << 20


def scale(short, full):
    """The size of this run."""
    return full if FULL else short


class Memory:
    """Resident memory of a process, from now on, in bytes."""

    def __init__(self, pid):
        self._proc = Path(f"/proc/{pid}")
        # Forgets the peak so far.
        (self._proc / "clear_refs").write_text("5")
        self.start = self.resident()

    def _field(self, name):
        lines = (self._proc / "status").read_text().splitlines()
        (kib,) = [line.split()[1] for line in lines if line.startswith(name + ":")]
        return int(kib) << 10

    def resident(self):
        return self._field("VmRSS")

    def peak_growth(self):
        """How far above its start it was at most."""
        return max(0, self._field("VmHWM") - self.start)

    def growth(self):
        return self.resident() - self.start


def descriptors(pid):
    """How many descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def raise_open_files(count):
    """Lets this process hold so many sockets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 1000
    assert hard == resource.RLIM_INFINITY or hard >= wanted, f"ulimit -Hn is {hard}, not {wanted}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
