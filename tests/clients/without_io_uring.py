"""Runs a program behind a seccomp filter that answers io_uring_setup with an error.

Usage: without_io_uring.py ERRNO PROGRAM [ARGUMENT...]
"""

import ctypes
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD_WORD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06
RET_ERRNO, RET_ALLOW = 0x0005_0000, 0x7FFF_0000
# The same number on every architecture of Linux; the system call's number is the first word.
IO_URING_SETUP, NUMBER_OFFSET = 425, 0


def install(error):
    def instruction(code, value, if_true=0, if_false=0):
        return struct.pack("HBBI", code, if_true, if_false, value)

    program = [
        instruction(LOAD_WORD, NUMBER_OFFSET),
        instruction(JUMP_IF_EQUAL, IO_URING_SETUP, if_true=0, if_false=1),
        instruction(RETURN, RET_ERRNO | error),
        instruction(RETURN, RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(program))
    head = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(program), ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    none = ctypes.c_ulong(0)
    for arguments in [
        (PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), none, none, none),
        (PR_SET_SECCOMP, ctypes.c_ulong(SECCOMP_MODE_FILTER), head, none, none),
    ]:
        if libc.prctl(*arguments) != 0:
            sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")


if __name__ == "__main__":
    install(int(sys.argv[1]))
    os.execv(sys.argv[2], sys.argv[2:])
