/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The ring of events. Its reader's place is in the map itself, so it is opened for one reading and closed again. */
#include "datapath/internal.h"

#include <errno.h>

#include <bpf/libbpf.h>

struct reading {
	void (*on_event)(void *arg, const struct shunt_event *event);
	void *arg;
};

static int on_sample(void *arg, void *data, size_t size)
{
	const struct reading *reading = arg;

	if (size >= sizeof(struct shunt_event))
		reading->on_event(reading->arg, data);
	return 0;
}

int datapath_read_events(struct datapath *datapath, void (*on_event)(void *arg, const struct shunt_event *event), void *arg)
{
	struct reading reading = { on_event, arg };
	struct ring_buffer *ring = ring_buffer__new(datapath->map[DATAPATH_MAP_EVENTS], on_sample, &reading, NULL);
	int r;

	if (!ring)
		return log_err(-errno, "cannot read %s/shunt_events", datapath->pin_dir);
	r = ring_buffer__consume(ring);
	ring_buffer__free(ring);
	return r < 0 ? log_err(r, "cannot read %s/shunt_events", datapath->pin_dir) : 0;
}
