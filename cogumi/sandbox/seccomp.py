"""A seccomp filter for the sandbox: no new processes or threads, no sockets, no tracing, no mounts, no keys.

Resource limits alone do not stop a fork bomb of root, and namespaces do not stop sockets in them; the kernel
refusing the calls does. The program is classic BPF as `struct sock_filter` (linux/filter.h), for bwrap --seccomp.
"""

from __future__ import annotations

import platform
import struct

_LOAD, _JUMP_EQUAL, _RETURN = 0x20, 0x15, 0x06
_ALLOW, _EPERM, _KILL = 0x7FFF0000, 0x00050001, 0x80000000
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_REFUSED = {
    # clone fork vfork clone3 | socket connect bind | ptrace process_vm_readv | mount umount pivot_root unshare setns |
    # add_key request_key keyctl | bpf io_uring_setup userfaultfd perf_event_open
    "x86_64": (
        56,
        57,
        58,
        435,
        41,
        42,
        49,
        101,
        310,
        165,
        166,
        155,
        272,
        308,
        248,
        249,
        250,
        321,
        425,
        323,
        298,
    ),
    "aarch64": (220, 435, 198, 203, 200, 117, 270, 40, 39, 41, 97, 268, 217, 218, 219, 280, 425, 282, 241),
}


def filter_program() -> bytes | None:
    """The filter for this machine, or None where its architecture is not known."""
    machine = platform.machine()
    if machine not in _ARCH:
        return None
    numbers = _REFUSED[machine]
    steps = [
        (_LOAD, 0, 0, 4),
        (_JUMP_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),
    ]
    for place, number in enumerate(numbers):
        steps.append((_JUMP_EQUAL, len(numbers) - place, 0, number))
    steps += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _EPERM)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
