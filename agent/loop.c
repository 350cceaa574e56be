/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The order at the start matters. The folder is read first, so that a mistake in it touches nothing. Then the tables are written before an interface
 * is attached, so that no packet meets empty ones; and experiments take up their promotions before that, so that a restart steers as before it.
 * Capabilities go when the last map is made and the last program loaded.
 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include <cap-ng.h>
#include <uv.h>

#include "datapath/host.h"
#include "datapath/netlink.h"
#include "datapath/overlap.h"
#include "experiment/engine.h"
#include "experiment/split.h"
#include "plan/plan.h"
#include "salt.h"
#include "serve/exposition.h"
#include "serve/server.h"
#include "util/addr.h"
#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"
#include "world/source_file.h"

static const int signals[] = { SIGTERM, SIGINT, SIGHUP };

#define SWEEP_MS 30000
#define USERS_FRESH_MS 1000 /* readings within it, of all experiments, share a walk over the table of users */
#define TELL_MS 500

/* What an interface is there for. */
enum purpose { PURPOSE_NONE, PURPOSE_CLIENTS, PURPOSE_UPLINK, PURPOSE_HOST };

struct interface {
	struct netlink_link link;
	uint32_t by; /* it is left alone for this one (overlap.h); 0: it is not */
	char *why;   /* then */
	bool attached;
	bool failed; /* to attach: tried again when the interface changes */
};

struct loop {
	const struct loop_options *options;
	uv_loop_t uv;
	uv_signal_t signal[ARRAY_SIZE(signals)];
	uv_poll_t netlink_poll;
	uv_timer_t sweep, tick;
	bool tick_failed; /* said once */
	uv_timer_t tell; /* state.json is behind, and written when it ends */

	struct source_file *source;
	struct world *world;
	struct manifest_errors errors;
	struct datapath *datapath;
	struct netlink *netlink;
	uint8_t salt[SALT_BYTES];
	struct engine *engine;
	struct tables *tables; /* what is committed; its notes belong to the world as it is */

	struct server *server;
	struct user_fold *users; /* NULL: not read yet */
	uint64_t users_at;       /* ms */

	struct interface *interfaces; /* all of this namespace */
	size_t interface_count, attached_count;
	struct datapath_place places[SHUNT_PLACES];
	size_t place_count;
	struct plan_node node;

	int64_t started; /* seconds since the epoch */
	json_t *state;   /* as it was written last */
};

/* ---- what a person is told ---- */

static const char *const note_level_name[] = {
	[NOTE_INFO] = "info",
	[NOTE_WARNING] = "warning",
	[NOTE_ERROR] = "error",
};

static void log_errors(const struct manifest_errors *errors)
{
	for (size_t i = 0; i < errors->count; i++) {
		_cleanup_free_ char *text = manifest_error_text(&errors->items[i]);

		log_err(0, "%s", text ? text : "no memory");
	}
}

static bool has_note(const struct tables *tables, const struct plan_note *note)
{
	for (size_t i = 0; tables && i < tables->note_count; i++)
		if (!strcmp(tables->notes[i].where, note->where) && !strcmp(tables->notes[i].message, note->message))
			return true;
	return false;
}

/* Those that the plan before did not have. */
static void log_new_notes(const struct tables *before, const struct tables *now)
{
	static const enum log_level level[] = { [NOTE_INFO] = LOG_INFO, [NOTE_WARNING] = LOG_WARN, [NOTE_ERROR] = LOG_ERR };

	for (size_t i = 0; i < now->note_count; i++)
		if (!has_note(before, &now->notes[i]))
			log_msg(level[now->notes[i].level], "%s: %s", now->notes[i].where, now->notes[i].message);
}

/* ---- state.json ---- */

/* Interfaces that are left alone for others: a person may have wanted another one of them. */
static void append_overlaps(const struct loop *loop, json_t *array)
{
	for (size_t i = 0; i < loop->interface_count; i++) {
		const struct interface *interface = &loop->interfaces[i];

		if (interface->why)
			json_array_append_new(array, json_pack("{s:s,s:s,s:s}", "level", "info", "where", interface->link.name, "message", interface->why));
	}
}

/* Mistakes of the folder, notes of the plan, troubles of experiments, and what interfaces gave cause for, in one form: [{level, where, message}]. */
static json_t *problems_json(const struct loop *loop)
{
	const struct manifest_errors *errors = &loop->errors;
	const struct tables *tables = loop->tables;
	json_t *array = json_array();

	for (size_t i = 0; i < errors->count; i++) {
		const struct manifest_error *e = &errors->items[i];
		_cleanup_free_ char *where = text_printf("%s:%d%s%s", e->file, e->line, e->path[0] ? " " : "", e->path);

		if (where)
			json_array_append_new(array, json_pack("{s:s,s:s,s:s}", "level", "error", "where", where, "message", e->message));
	}
	for (size_t i = 0; tables && i < tables->note_count; i++) {
		const struct plan_note *n = &tables->notes[i];

		json_array_append_new(array, json_pack("{s:s,s:s,s:s}", "level", note_level_name[n->level], "where", n->where, "message", n->message));
	}
	engine_problems(loop->engine, array);
	append_overlaps(loop, array);
	return array;
}

static int write_atomically(const char *path, const json_t *json)
{
	_cleanup_free_ char *fresh = text_printf("%s.new", path);

	if (!fresh)
		return -ENOMEM;
	if (json_dump_file(json, fresh, JSON_INDENT(2)))
		return errno ? -errno : -EIO;
	return rename(fresh, path) ? -errno : 0;
}

/* For `shunt status`: what it cannot see in the maps. Written when it changes. */
static void write_state(struct loop *loop)
{
	_cleanup_free_ char *path = text_printf("%s/state.json", loop->options->run_dir);
	_cleanup_json_ json_t *state = NULL;
	int r;

	state = json_pack("{s:i,s:I,s:s,s:s,s:o,s:o}", "pid", (int)getpid(), "started", (json_int_t)loop->started, "manifests", loop->options->dir,
			  "pin_dir", loop->options->pin_dir, "problems", problems_json(loop), "experiments",
			  engine_list(loop->engine));
	if (!path || !state || json_equal(state, loop->state))
		return;
	r = write_atomically(path, state);
	if (r) {
		log_err(r, "cannot write %s; `shunt status` will not know of problems", path);
		return;
	}
	json_decref(loop->state);
	loop->state = TAKE_PTR(state);
}

/* ---- plan and commit ---- */

static bool same(const void *a, size_t a_count, const void *b, size_t b_count, size_t size)
{
	return a_count == b_count && (!a_count || !memcmp(a, b, a_count * size));
}

/* True when both steer alike. Notes do not steer. */
static bool same_tables(const struct tables *a, const struct tables *b)
{
#define SAME(list, count) same(a->list, a->count, b->list, b->count, sizeof(*a->list))
	return SAME(frontends, frontend_count) && SAME(routes, route_count) && SAME(rules, rule_count) && SAME(entries, entry_count) &&
	       SAME(conditions, condition_count) && SAME(splits, split_count) && SAME(versions, version_count) && SAME(rings, ring_count) &&
	       SAME(pods, pod_count) && SAME(trials, trial_count) && !memcmp(a->series, b->series, sizeof(a->series));
#undef SAME
}

/* The tables for the world as it is and what experiments want of it. */
static int make_plan(struct loop *loop, struct tables **ret_tables)
{
	_cleanup_free_ struct shunt_series *series = calloc(SHUNT_SERIES, sizeof(*series));
	_cleanup_free_ struct steering *steerings = NULL;
	size_t count;
	int r;

	if (!series)
		return -ENOMEM;
	r = datapath_read_series(loop->datapath, series);
	if (!r)
		r = engine_steerings(loop->engine, &steerings, &count);
	return r ? r : plan(loop->world, &loop->node, steerings, count, series, loop->salt, ret_tables);
}

/* The node's own connections to the frontends of the plan take the way past the programs. */
static int route_host(const struct tables *tables)
{
	_cleanup_free_ struct shunt_addr *addresses = calloc(tables->frontend_count + 1, sizeof(*addresses));

	if (!addresses)
		return -ENOMEM;
	for (size_t i = 0; i < tables->frontend_count; i++)
		addresses[i] = tables->frontends[i].key.addr;
	return host_route(addresses, tables->frontend_count);
}

/* Plans and commits. On an error the tables that are live stay. */
static int steer(struct loop *loop)
{
	_cleanup_(tables_free) struct tables *tables = NULL;
	int r;

	r = make_plan(loop, &tables);
	if (r)
		return log_err(r, "cannot plan; packets are steered as before");
	log_new_notes(loop->tables, tables);
	if (!loop->tables || !same_tables(loop->tables, tables)) {
		r = datapath_commit(loop->datapath, tables);
		if (r)
			return r;
		log_info("plan: frontends %zu, routes %zu, rules %zu, entries %zu, versions %zu, pods %zu", tables->frontend_count,
			 tables->route_count, tables->rule_count, tables->entry_count, tables->version_count, tables->pod_count);
	}
	if (loop->options->host && route_host(tables))
		log_warn("this node's own connections may not be steered");
	tables_free(&loop->tables);
	loop->tables = TAKE_PTR(tables);
	return 0;
}

/* ---- experiments ask ---- */

static void put_resolution(const struct loop *loop, size_t version_count, const struct plan_note *notes, size_t note_count,
			   struct resolution *resolution)
{
	for (size_t i = 0; i < version_count; i++)
		if (resolution->series[i] >= 0)
			resolution->names[i] = strdup(loop->tables->series[resolution->series[i]].version);
	for (size_t i = 0; i < note_count; i++) {
		_cleanup_free_ char *before = TAKE_PTR(resolution->problem);

		resolution->problem = text_printf("%s%s%s", before ? before : "", before ? "; " : "", notes[i].message);
	}
}

static int on_resolve(void *arg, const struct experiment *experiment, struct resolution *resolution)
{
	struct loop *loop = arg;
	struct plan_note *notes;
	size_t count;
	int r;

	if (!loop->tables)
		return -ENOENT;
	r = plan_resolve_versions(loop->world, loop->tables, experiment, resolution->series, &resolution->route, &notes, &count);
	if (r)
		return r;
	put_resolution(loop, experiment->version_count, notes, count, resolution);
	if (!resolution->route || plan_entry_weights(loop->world, resolution->route, split_entry(experiment), resolution->names, experiment->version_count,
						     resolution->percent))
		resolution->percent[0] = -1;
	notes_free(&notes, count);
	return 0;
}

static int on_read(void *arg, int series, struct series_numbers *ret_numbers)
{
	struct loop *loop = arg;

	return datapath_read_numbers(loop->datapath, series, ret_numbers);
}

static int on_read_users(void *arg, uint32_t trial, int series, struct user_sums *ret_sums)
{
	struct loop *loop = arg;
	uint64_t now = uv_hrtime() / 1000000;
	int r;

	if (!loop->users || now - loop->users_at >= USERS_FRESH_MS) {
		user_fold_free(&loop->users);
		r = datapath_fold_users(loop->datapath, &loop->users);
		if (r)
			return r;
		loop->users_at = now;
	}
	*ret_sums = *user_fold_find(loop->users, trial, (uint32_t)series);
	return 0;
}

static int on_steer(void *arg)
{
	return steer(arg);
}

static void on_tell(uv_timer_t *timer)
{
	write_state(timer->data);
}

/* A thousand experiments change fifty times a second: state.json follows a few times. */
static void on_changed(void *arg)
{
	struct loop *loop = arg;

	if (!uv_is_active((uv_handle_t *)&loop->tell))
		uv_timer_start(&loop->tell, on_tell, TELL_MS, 0);
}

static int begin_experiments(struct loop *loop)
{
	const struct engine_options options = { .folder = loop->options->dir, .task = { .user = loop->options->task_user } };
	const struct engine_edge edge = { on_resolve, on_read, on_read_users, on_steer, on_changed, loop };
	int r;

	r = engine_new(&loop->uv, &options, &edge, &loop->engine);
	if (!r)
		r = engine_set_world(loop->engine, loop->world);
	return r ? log_err(r, "cannot begin the experiments") : 0;
}

static void on_world(void *userdata, struct world *world, struct manifest_errors *errors)
{
	struct loop *loop = userdata;

	log_errors(errors);
	if (errors->count)
		log_warn("%s has mistakes: what was good before stays in force there", loop->options->dir);
	if (engine_set_world(loop->engine, world)) {
		log_err(-ENOMEM, "cannot take up what has changed in %s", loop->options->dir);
		world_free(&world);
		manifest_errors_release(errors);
		return;
	}
	world_free(&loop->world);
	manifest_errors_release(&loop->errors);
	loop->world = world;
	loop->errors = *errors;
	steer(loop);
	write_state(loop);
}

/* ---- places ---- */

static enum purpose purpose_of(const struct loop *loop, const struct netlink_link *link)
{
	const struct loop_options *options = loop->options;

	if (!strcmp(link->name, HOST_OUT))
		return PURPOSE_NONE;
	if (!strcmp(link->name, HOST_IN))
		return options->host ? PURPOSE_HOST : PURPOSE_NONE;
	if (options->uplinks && netlink_name_matches(link->name, options->uplinks))
		return PURPOSE_UPLINK;
	return netlink_matches(link, options->interfaces) ? PURPOSE_CLIENTS : PURPOSE_NONE;
}

/* Ports that connect(2) takes by itself. */
static void local_ports(uint16_t *ret_low, uint16_t *ret_high)
{
	_cleanup_file_ FILE *file = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");

	if (file && fscanf(file, "%hu %hu", ret_low, ret_high) == 2)
		return;
	*ret_low = 32768;
	*ret_high = 60999;
}

static void add_place(void *data, const struct netlink_link *link)
{
	struct loop *loop = data;
	enum purpose purpose = purpose_of(loop, link);
	struct datapath_place *place = &loop->places[loop->place_count];

	if (link->gone || (purpose != PURPOSE_UPLINK && purpose != PURPOSE_HOST))
		return;
	if (loop->place_count == SHUNT_PLACES) {
		log_warn("%s is one uplink too many: %d are possible; pods on other nodes cannot answer to its clients", link->name, SHUNT_PLACES);
		return;
	}
	*place = (struct datapath_place){ .ifindex = link->ifindex };
	place->place.kind = purpose == PURPOSE_UPLINK ? SHUNT_PLACE_UPLINK : SHUNT_PLACE_HOST;
	place->place.returns = loop->options->return_at_pods;
	local_ports(&place->place.port_low, &place->place.port_high);
	if (purpose == PURPOSE_UPLINK && netlink_addresses(link->ifindex, place->place.node))
		log_warn("cannot read the addresses of %s", link->name);
	loop->place_count++;
}

/* The node itself is reached by the address of its first uplink that has one. */
static void find_node(struct loop *loop)
{
	struct shunt_addr node[SHUNT_FAMILIES] = {};

	for (size_t i = 0; i < loop->place_count; i++)
		for (int family = 0; family < SHUNT_FAMILIES; family++)
			if (addr_is_none(&node[family]))
				node[family] = loop->places[i].place.node[family];
	for (size_t i = 0; i < loop->place_count; i++)
		if (loop->places[i].place.kind == SHUNT_PLACE_HOST)
			memcpy(loop->places[i].place.node, node, sizeof(node));
	loop->node = (struct plan_node){ .name = loop->options->node_name, .uplink = loop->options->uplinks };
	for (int family = 0; family < SHUNT_FAMILIES; family++)
		loop->node.address[family] = !addr_is_none(&node[family]);
}

/* Looks at all interfaces that do not just lead to pods of this node, and tells the programs. */
static int find_places(struct loop *loop)
{
	int r;

	loop->place_count = 0;
	r = netlink_list(loop->netlink, add_place, loop);
	if (r)
		return log_err(r, "cannot list the interfaces");
	find_node(loop);
	return datapath_set_places(loop->datapath, loop->places, loop->place_count);
}

/* Addresses or uplinks have changed. */
static void places_changed(struct loop *loop)
{
	if (find_places(loop) || steer(loop))
		log_warn("pods on other nodes may not be able to answer");
	write_state(loop);
}

/* ---- interfaces ---- */

static struct interface *find_interface(struct loop *loop, uint32_t ifindex)
{
	for (size_t i = 0; i < loop->interface_count; i++)
		if (loop->interfaces[i].link.ifindex == ifindex)
			return &loop->interfaces[i];
	return NULL;
}

static bool takes_returns(const struct loop *loop, enum purpose purpose)
{
	return purpose == PURPOSE_UPLINK || (purpose == PURPOSE_CLIENTS && loop->options->return_at_pods);
}

static void attach(struct loop *loop, struct interface *interface, enum purpose purpose)
{
	interface->failed = datapath_attach(loop->datapath, interface->link.name, takes_returns(loop, purpose));
	if (interface->failed)
		return;
	interface->attached = true;
	loop->attached_count++;
	log_info("attached %s", interface->link.name);
}

static void gone(struct loop *loop, struct interface *known)
{
	int r = known->attached ? datapath_forget(loop->datapath, known->link.name) : 0;

	if (r)
		log_warn("interface %s is gone, but its pins could not be removed: %s", known->link.name, strerror(-r));
	else if (known->attached)
		log_info("interface %s is gone", known->link.name);
	loop->attached_count -= known->attached;
	free(known->why);
	*known = loop->interfaces[--loop->interface_count];
}

/* An interface is there, has changed or is gone. What follows from it says settle(), when all of them are known. */
static void on_link(void *data, const struct netlink_link *link)
{
	struct loop *loop = data;
	struct interface *known = find_interface(loop, link->ifindex), *longer;

	if (link->gone) {
		if (known)
			gone(loop, known);
		return;
	}
	if (!known) {
		longer = realloc(loop->interfaces, (loop->interface_count + 1) * sizeof(*longer));
		if (!longer)
			return;
		loop->interfaces = longer;
		longer[loop->interface_count++] = (struct interface){ .link = *link };
		return;
	}
	if (known->attached && strcmp(known->link.name, link->name) &&
	    datapath_attach(loop->datapath, link->name, takes_returns(loop, purpose_of(loop, link)))) /* renamed: its pins get the new name */
		return;
	known->link = *link;
	known->failed = false;
}

/* The interface shares a path with another one that is attached (`by`; NULL: not any more). */
static void leave_alone(struct loop *loop, struct interface *interface, const struct interface *by)
{
	free(interface->why);
	interface->why = NULL;
	interface->by = by ? by->link.ifindex : 0;
	if (!by)
		return;
	interface->why = text_printf("not attached: the same packets pass %s %s, which is", overlap_text(&interface->link, &by->link), by->link.name);
	log_info("%s: %s", interface->link.name, interface->why ?: "not attached");
	if (datapath_detach(loop->datapath, interface->link.name)) /* also what an earlier run attached */
		return;
	loop->attached_count -= interface->attached;
	interface->attached = false;
}

/* An uplink stays where it is asked for: the programs know most packets that they meet again (direct_begin). */
static bool is_left_alone(enum purpose purpose, enum purpose by)
{
	return purpose != PURPOSE_UPLINK || by == PURPOSE_UPLINK;
}

/* Attaches what is to be attached, now that all interfaces are known. */
static void settle(struct loop *loop)
{
	size_t count = loop->interface_count;
	_cleanup_free_ struct netlink_link *links = calloc(count + 1, sizeof(*links));
	_cleanup_free_ enum purpose *purpose = calloc(count + 1, sizeof(*purpose));
	_cleanup_free_ bool *wanted = calloc(count + 1, sizeof(*wanted));
	_cleanup_free_ size_t *by = calloc(count + 1, sizeof(*by));

	if (!links || !purpose || !wanted || !by)
		return;
	for (size_t i = 0; i < count; i++) {
		links[i] = loop->interfaces[i].link;
		purpose[i] = purpose_of(loop, &links[i]);
		wanted[i] = purpose[i] != PURPOSE_NONE;
	}
	overlap_resolve(links, wanted, count, by);
	for (size_t i = 0; i < count; i++) {
		struct interface *interface = &loop->interfaces[i];
		bool alone = by[i] != i && is_left_alone(purpose[i], purpose[by[i]]);

		if (interface->by != (alone ? links[by[i]].ifindex : 0))
			leave_alone(loop, interface, alone ? &loop->interfaces[by[i]] : NULL);
		if (wanted[i] && !alone && !interface->attached && !interface->failed)
			attach(loop, interface, purpose[i]);
	}
}

static void on_netlink(uv_poll_t *poll, int status, int events)
{
	struct loop *loop = poll->data;
	bool addresses = false;
	size_t before = loop->attached_count;
	int r = status;

	(void)events;
	if (!r)
		r = netlink_read(loop->netlink, on_link, loop, &addresses);
	if (r) {
		log_warn("cannot hear of interfaces that come and go: %s", strerror(-r));
		return;
	}
	settle(loop);
	if (loop->options->uplinks && (addresses || loop->attached_count != before))
		places_changed(loop);
	else
		write_state(loop);
}

static int attach_all(struct loop *loop)
{
	int r = netlink_list(loop->netlink, on_link, loop);

	if (r)
		return log_err(r, "cannot list the interfaces");
	settle(loop);
	if (!loop->attached_count)
		log_warn("no interface %s%s here now: packets are steered as soon as one appears", loop->options->interfaces ? "matches " : "of type veth is up",
			 loop->options->interfaces ? loop->options->interfaces : "");
	return 0;
}

/* ---- what is served ---- */

static int read_series(struct loop *loop, struct exposed_series *series, size_t *ret_count)
{
	*ret_count = 0;
	for (int i = 0; i < SHUNT_SERIES; i++) {
		struct exposed_series *exposed = &series[*ret_count];
		int r;

		if (!loop->tables->series[i].version[0])
			continue;
		r = datapath_read_numbers(loop->datapath, i, &exposed->numbers);
		if (r)
			return r;
		exposed->name = &loop->tables->series[i];
		++*ret_count;
	}
	return 0;
}

static int on_metrics(void *arg, FILE *out)
{
	struct loop *loop = arg;
	_cleanup_free_ struct exposed_series *series = calloc(SHUNT_SERIES, sizeof(*series));
	uint64_t reasons[SHUNT_R_MAX];
	struct exposition exposition = {
		.series = series,
		.reasons = reasons,
		.frontends = loop->tables->frontend_count,
		.interfaces = loop->attached_count,
		.experiments = loop->world->experiment_count,
	};
	int r = series ? read_series(loop, series, &exposition.series_count) : -ENOMEM;

	if (!r)
		r = datapath_read_reasons(loop->datapath, reasons);
	if (!r)
		exposition_write(out, &exposition);
	return r;
}

static const char *on_unready(void *arg)
{
	const struct loop *loop = arg;

	return loop->attached_count ? NULL : "no interface is attached: nothing is steered";
}

static int serve(struct loop *loop)
{
	const struct server_edge edge = { on_metrics, on_unready, loop };

	return loop->options->listen && !loop->options->once ? server_new(&loop->uv, loop->options->listen, &edge, &loop->server) : 0;
}

/* ---- capabilities ---- */

/* Whether writing beside manifests that another user owns needs the right to pass over file modes. */
static bool foreign_folder(const char *dir)
{
	struct stat st;

	return stat(dir, &st) || st.st_uid != geteuid();
}

/*
 * After the load nothing of BPF needs a capability any more: descriptors and pins are enough (object.c). What stays: to run tasks as another user and
 * to end them at their deadline; clsact's netlink where there is no tcx; writing status files into a folder of somebody else.
 */
static int drop_capabilities(struct loop *loop)
{
	const struct {
		unsigned int capability;
		bool keep;
	} kept[] = {
		{ CAP_SETUID, true },
		{ CAP_SETGID, true },
		{ CAP_KILL, true },
		{ CAP_SETPCAP, true }, /* tasks lose the bounding set */
		{ CAP_NET_ADMIN, loop->options->host || datapath_attach_needs_net_admin(loop->datapath) }, /* host: routes */
		{ CAP_DAC_OVERRIDE, foreign_folder(loop->options->dir) },
	};
	bool had[ARRAY_SIZE(kept)];

	capng_get_caps_process();
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		had[i] = capng_have_capability(CAPNG_PERMITTED, kept[i].capability);
	capng_clear(CAPNG_SELECT_CAPS);
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (kept[i].keep && had[i])
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, kept[i].capability);
	return capng_apply(CAPNG_SELECT_CAPS) ? log_err(-EPERM, "cannot drop capabilities") : 0;
}

/* ---- life ---- */

static void on_signal(uv_signal_t *handle, int number)
{
	struct loop *loop = handle->data;
	struct manifest_errors errors = {};
	struct world *world;

	if (number != SIGHUP) {
		log_info("%s: leaving; everything stays attached and packets go on being steered (`shunt unload` ends that)", strsignal(number));
		uv_stop(&loop->uv);
		return;
	}
	if (source_file_read(loop->source, &world, &errors))
		log_err(-ENOMEM, "cannot read %s again", loop->options->dir);
	else
		on_world(loop, world, &errors);
}

static int read_folder(struct loop *loop)
{
	int r;

	r = source_file_new(loop->options->dir, &loop->source);
	if (!r)
		r = source_file_read(loop->source, &loop->world, &loop->errors);
	if (r)
		return log_err(r, "cannot read %s", loop->options->dir);
	if (!loop->errors.count)
		return 0;
	log_errors(&loop->errors);
	log_err(0, "%s has %zu mistake%s: nothing was loaded; mend and start again", loop->options->dir, loop->errors.count,
		loop->errors.count > 1 ? "s" : "");
	return -EBADMSG;
}

static int prepare(struct loop *loop)
{
	int r;

	r = read_folder(loop);
	if (!r)
		r = datapath_open(loop->options->pin_dir, &loop->options->wishes, &loop->datapath);
	if (r)
		return r;
	datapath_set_attach_mode(loop->datapath, loop->options->attach);
	if (mkdir(loop->options->run_dir, 0755) && errno != EEXIST)
		return log_err(-errno, "cannot make %s (--run-dir)", loop->options->run_dir);
	r = salt_load(loop->options->dir, loop->salt);
	if (!r)
		r = begin_experiments(loop);
	if (!r)
		r = datapath_host(loop->datapath, loop->options->host);
	if (!r) {
		r = netlink_open(&loop->netlink);
		r = r ? log_err(r, "cannot listen for interfaces") : find_places(loop);
	}
	if (!r)
		r = steer(loop);
	if (!r)
		r = attach_all(loop);
	if (!r)
		r = serve(loop);
	return r;
}

static void on_sweep(uv_timer_t *timer)
{
	struct loop *loop = timer->data;

	datapath_sweep(loop->datapath);
}

static void on_tick(uv_timer_t *timer)
{
	struct loop *loop = timer->data;

	if (!loop->tick_failed && datapath_tick(loop->datapath))
		loop->tick_failed = true;
}

static int begin(struct loop *loop)
{
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < ARRAY_SIZE(signals) && !r; i++) {
		uv_signal_init(&loop->uv, &loop->signal[i]);
		loop->signal[i].data = loop;
		r = uv_signal_start(&loop->signal[i], on_signal, signals[i]);
	}
	if (!r)
		r = uv_poll_init(&loop->uv, &loop->netlink_poll, netlink_fd(loop->netlink));
	loop->netlink_poll.data = loop;
	if (!r)
		r = uv_poll_start(&loop->netlink_poll, UV_READABLE, on_netlink);
	if (r)
		return log_err(r, "cannot listen for signals and interfaces");
	uv_timer_init(&loop->uv, &loop->tell);
	loop->tell.data = loop;
	uv_timer_init(&loop->uv, &loop->sweep);
	loop->sweep.data = loop;
	uv_timer_start(&loop->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_timer_init(&loop->uv, &loop->tick);
	loop->tick.data = loop;
	uv_timer_start(&loop->tick, on_tick, SHUNT_TICK_MS, SHUNT_TICK_MS);
	r = source_file_watch(loop->source, &loop->uv, SOURCE_FILE_POLL_MS, on_world, loop);
	return r ? log_err(r, "cannot watch %s", loop->options->dir) : 0;
}

static void close_handle(void *handle)
{
	if (uv_handle_get_type(handle) != UV_UNKNOWN_HANDLE) /* a start that failed did not get that far */
		uv_close(handle, NULL);
}

static void release(struct loop *loop)
{
	server_free(&loop->server);
	engine_free(&loop->engine);
	source_file_free(&loop->source);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		close_handle(&loop->signal[i]);
	close_handle(&loop->netlink_poll);
	close_handle(&loop->tell);
	close_handle(&loop->sweep);
	close_handle(&loop->tick);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	if (uv_loop_close(&loop->uv))
		log_debug("the event loop had handles left");
	netlink_close(&loop->netlink);
	datapath_close(&loop->datapath);
	tables_free(&loop->tables);
	world_free(&loop->world);
	manifest_errors_release(&loop->errors);
	json_decref(loop->state);
	user_fold_free(&loop->users);
	for (size_t i = 0; i < loop->interface_count; i++)
		free(loop->interfaces[i].why);
	free(loop->interfaces);
}

int loop_run(const struct loop_options *options)
{
	struct loop loop = { .options = options, .started = time(NULL) };
	int r;

	r = uv_loop_init(&loop.uv);
	if (r)
		return log_err(r, "cannot make an event loop");
	r = prepare(&loop);
	if (!r && !options->once)
		r = drop_capabilities(&loop);
	if (!r && !options->once)
		r = begin(&loop);
	if (!r) {
		write_state(&loop);
		log_info("steering %zu frontends on %zu interfaces", loop.tables->frontend_count, loop.attached_count);
	}
	if (!r && !options->once)
		uv_run(&loop.uv, UV_RUN_DEFAULT);
	if (!r && !options->once && uv_is_active((uv_handle_t *)&loop.tell))
		write_state(&loop);
	release(&loop);
	return r;
}
