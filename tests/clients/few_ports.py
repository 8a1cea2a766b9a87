"""Runs a command in the network namespace it is started in, after giving that a loopback interface
and few local ports: `few_ports.py FIRST LAST COMMAND…`. For use behind `unshare -rn`."""

import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

SIOCSIFFLAGS = 0x8914
IFF_UP = 1

first, last, *command = sys.argv[1:]
with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"{first} {last}")
os.execvp(command[0], command)
