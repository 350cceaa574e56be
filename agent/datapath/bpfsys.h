/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* bpf(2) where Debian's libbpf 1.1 and Linux 6.1 headers have no words for it yet: tcx (Linux 6.6). And libbpf's messages. */
#ifndef SHUNT_BPFSYS_H
#define SHUNT_BPFSYS_H

#include <stdbool.h>
#include <stdint.h>

enum tcx_hook {
	TCX_INGRESS = 46, /* BPF_TCX_INGRESS */
	TCX_EGRESS = 47,  /* BPF_TCX_EGRESS */
};

/*
 * A link of a program to an interface, before the programs that are there already. Returns its descriptor. -EINVAL: this kernel has no tcx;
 * -EEXIST: the program is attached there already; -ENODEV.
 */
int tcx_link_create(int prog_fd, uint32_t ifindex, enum tcx_hook hook);

/* What a pinned descriptor is. */
struct bpfsys_info {
	bool tcx;         /* a tcx link; else a program */
	uint32_t ifindex; /* of a tcx link; 0: the interface is gone */
	uint32_t prog_id;
};

/* -EBADF: neither a tcx link nor a program. */
int bpfsys_info(int fd, struct bpfsys_info *ret_info);

/* From now on libbpf's messages go to our log, one level down: what matters of them we say ourselves. */
void bpfsys_log_libbpf(void);

/* Between true and false libbpf says nothing: for calls whose failure is an answer. */
void bpfsys_quiet(bool quiet);

#endif
