"""Memory that was freed stays with the process, where the C library is glibc.

Otherwise glibc gives every large block back to the kernel, and each step's activations are mapped, zeroed and faulted in
anew: between a fifth and a third of a training step on a CPU (docs/lab-notes.md).
"""

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""of mallopt(3)"""
NEVER = 2**31 - 1


def keep_memory() -> bool:
    """Ask the allocator to serve large blocks from its heap and to keep what is freed there; whether it will.

    Of the whole process from now on. The process then holds its largest use so far; that use itself stays the same.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, NEVER))
