/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "datapath/bpfsys.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "util/log.h"

#define LINK_TYPE_TCX 11      /* BPF_LINK_TYPE_TCX */
#define F_BEFORE (1u << 3)    /* BPF_F_BEFORE; without a relative: before all */

/* The part of union bpf_attr that BPF_LINK_CREATE reads for tcx (include/uapi/linux/bpf.h of Linux 6.6). */
struct link_create_attr {
	uint32_t prog_fd;
	uint32_t ifindex;
	uint32_t attach_type;
	uint32_t flags;
	uint32_t relative_fd;
	uint32_t pad;
	uint64_t expected_revision; /* 0: any */
};

/* The part of struct bpf_link_info that a tcx link fills in. */
struct link_info {
	uint32_t type;
	uint32_t id;
	uint32_t prog_id;
	uint32_t pad;
	uint32_t ifindex;
	uint32_t attach_type;
};

int tcx_link_create(int prog_fd, uint32_t ifindex, enum tcx_hook hook)
{
	struct link_create_attr attr = {
		.prog_fd = prog_fd,
		.ifindex = ifindex,
		.attach_type = hook,
		.flags = F_BEFORE,
	};
	int fd;

	fd = syscall(__NR_bpf, BPF_LINK_CREATE, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

int bpfsys_info(int fd, struct bpfsys_info *ret_info)
{
	union {
		struct bpf_prog_info prog;
		struct link_info tcx;
	} info = {};
	uint32_t size = sizeof(info);

	/* Programs and links both begin with type and id. In our pins are only these two kinds, whose type numbers differ. */
	if (bpf_obj_get_info_by_fd(fd, &info, &size))
		return -errno;
	if (info.tcx.type == LINK_TYPE_TCX)
		*ret_info = (struct bpfsys_info){ .tcx = true, .ifindex = info.tcx.ifindex, .prog_id = info.tcx.prog_id };
	else if (info.prog.type == BPF_PROG_TYPE_SCHED_CLS)
		*ret_info = (struct bpfsys_info){ .prog_id = info.prog.id };
	else
		return -EBADF;
	return 0;
}

static int quiet_depth;

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list args)
{
	char line[1024];

	if (level == LIBBPF_DEBUG || quiet_depth)
		return 0;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = '\0';
	log_msg(level == LIBBPF_WARN ? LOG_INFO : LOG_DEBUG, "%s", line);
	return 0;
}

void bpfsys_log_libbpf(void)
{
	libbpf_set_print(log_libbpf);
}

void bpfsys_quiet(bool quiet)
{
	quiet_depth += quiet ? 1 : -1;
}
