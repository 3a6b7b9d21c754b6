"""Runs a program under a seccomp filter that refuses system calls, as an older kernel would (ENOSYS):
NUMBER,NUMBER PROGRAM ARGS...
"""

import ctypes
import errno
import os
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h


def filter_of(numbers: list[int]) -> bytes:
    program = [(LOAD, 0, 0, 0)]  # the call's number
    for number in numbers:
        program += [(JUMP_IF_EQUAL, 0, 1, number), (RETURN, 0, 0, ERRNO | errno.ENOSYS)]
    return b"".join(struct.pack("HBBI", *each) for each in [*program, (RETURN, 0, 0, ALLOW)])


def main() -> None:
    numbers, program = [int(number) for number in sys.argv[1].split(",")], sys.argv[2:]
    code = ctypes.create_string_buffer(filter_of(numbers))
    given = ctypes.create_string_buffer(struct.pack("H6xP", len(code) // 8, ctypes.addressof(code)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, given, 0, 0
    ):
        sys.exit(f"no seccomp filter: {os.strerror(ctypes.get_errno())}")
    os.execv(program[0], program)


main()
