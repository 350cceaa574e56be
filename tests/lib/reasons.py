# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""SHUNT_REASONS of abi.h, and which of them the packet tests cannot provoke."""

import re
from pathlib import Path

ABI = Path(__file__).resolve().parents[2] / "include" / "shunt" / "abi.h"

# Why no packet test makes the kernel count them.
UNPROVOKED = {
    "USER_FULL": "the kernel's LRU list frees an entry for whoever asks; it has none only when CPUs race for the very last ones",
}


def reasons():
    """{name: (sort, text)}"""
    return {name: (sort, text) for name, sort, text in re.findall(r'^\tX\(([A-Z_]+), (note|told|odd), "(.*?)"\)', ABI.read_text(), re.M)}


def unprovoked(provoked):
    """Names that are in no file of the directory `provoked`, where each binary of tests/bpf writes what it made the kernel count; but for UNPROVOKED."""
    seen = set().union(*(file.read_text().split() for file in provoked.iterdir()))
    return sorted(set(reasons()) - seen - set(UNPROVOKED))
