#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
"""
Makes vmlinux.h: of all kernel types, those that bpf/ uses and what these are made of.

    bpftool btf dump file /sys/kernel/btf/vmlinux format c | bpf/trim_vmlinux.py >vmlinux.h        (`make vmlinux.h`)

bpftool's dump has 134,000 lines and changes with each kernel; a reviewed tree wants the few hundred lines that matter. A type is kept when it is
named in ROOTS or when a kept type holds it by value; what is only pointed to stays an incomplete type. When clang misses a type, add its name here.

The result has no preserve_access_index: every type in it is a packet's or a user-space interface's, whose layout never changes. So the programs
carry no CO-RE relocations, and they load on kernels without BTF.
"""

import re
import sys

ROOTS = """
    __u8 __u16 __u32 __u64 __s8 __s16 __s32 __s64 __be16 __be32 __be64 __le16 __le32 __le64 __wsum __sum16 bool
    __sk_buff
    ethhdr vlan_hdr iphdr ipv6hdr ipv6_opt_hdr frag_hdr in6_addr tcphdr udphdr icmphdr icmp6hdr
    bpf_map_type
    bpf_redir_neigh bpf_fib_lookup bpf_sock_tuple bpf_sock
""".split()

# Enumerators, for enums without a name: the whole enum that holds one is kept.
ENUMERATORS = """
    false
    TCX_NEXT
    BPF_ANY BPF_F_NO_PREALLOC BPF_F_RECOMPUTE_CSUM BPF_F_PSEUDO_HDR BPF_F_INGRESS
    BPF_CSUM_LEVEL_QUERY
    BPF_FIB_LKUP_RET_SUCCESS BPF_F_CURRENT_NETNS
    IPPROTO_TCP
""".split()

HEAD = """/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Made by bpf/trim_vmlinux.py (`make vmlinux.h`) from a kernel's BTF: do not edit, name what is missing in that script. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

struct bpf_map; /* what bpf_for_each_map_elem() hands its callback; nobody looks inside */
"""

# A declaration ends at the first ';' outside braces.
DECLARATION = re.compile(r"^(?:struct|union|enum|typedef)\b[^;{]*(?:\{.*?^\}[^;]*)?;", re.M | re.S)
DEFINED = re.compile(r"^(?:struct|union|enum) (\w+) \{")
TYPEDEF = re.compile(r"^typedef .*?\(?\*?\b(\w+)\)?(?:\[\d*\]|\([^()]*\))*;$", re.S)
BY_VALUE = re.compile(r"\b(?:(?:struct|union|enum) (\w+)|(\w+)) (?!\*)\w+(?:\[|;| :|:)")


class Type:
    """One declaration of the dump and the names that refer to it."""

    def __init__(self, text):
        self.text = text
        self.kept = False
        defined = DEFINED.match(text)
        typedef = TYPEDEF.match(text)
        self.name = defined.group(1) if defined else typedef.group(1) if typedef else None
        self.enumerators = re.findall(r"^\t(\w+) = ", text, re.M) if text.startswith("enum") else []

    def needs(self):
        """Names of the types that this one holds by value."""
        if self.text.startswith("typedef"):
            text = self.text[len("typedef "):]
            return [] if "*" in text else [n for pair in BY_VALUE.findall(text) for n in pair if n]
        return [n for pair in BY_VALUE.findall(self.text) for n in pair if n]


def trim(dump):
    types = [Type(m.group(0)) for m in DECLARATION.finditer(dump)]
    named = {t.name: t for t in types if t.name}
    holding = {e: t for t in types for e in t.enumerators}

    missing = [n for n in ROOTS if n not in named] + [e for e in ENUMERATORS if e not in holding]
    if missing:
        sys.exit(f"trim_vmlinux: this kernel's BTF has no {', '.join(missing)}: use a newer kernel, or take it off the lists in {sys.argv[0]}")

    todo = [named[n] for n in ROOTS] + [holding[e] for e in ENUMERATORS]
    while todo:
        t = todo.pop()
        if not t.kept:
            t.kept = True
            todo += [named[n] for n in t.needs() if n in named]
    return [t.text for t in types if t.kept]


def main():
    print(HEAD)
    for text in trim(sys.stdin.read()):
        print(text + "\n")
    print("#endif")


if __name__ == "__main__":
    main()
