/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * common/readiness: waits until objects exist and are ready. All of them are looked at, in every attempt from the first that was not ready on (T9: Iter8
 * looks at one and never again).
 *
 *     initialDelaySeconds ─▶ object 0, 1, 2 .. ─ all ready ─▶ done
 *                              ▲      │ one is not
 *                              ╰── intervalSeconds, at most numRetries times ─▶ failed, naming it
 *
 * A Service, EndpointSlice, VirtualService, Experiment or Metric of the folder is ready by what the folder says: it is there, and with waitFor a Service
 * has a ready endpoint. Everything else is asked of kubectl, without a shell: `kubectl get`, then `kubectl wait --for=X --timeout=0s`.
 */
#include "experiment/task_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "experiment/child.h"
#include "util/cleanup.h"
#include "util/text.h"

#define DELAY_S 5
#define RETRIES 12
#define INTERVAL_S 5

struct object_ref {
	char *kind, *ns, *name, *wait_for; /* wait_for NULL: it has to be there only */
};

struct readiness {
	struct task_run *run; /* NULL: cancelled */
	const struct world *const *world;
	struct object_ref *objects;
	size_t object_count;
	size_t next;     /* the first that has not been found ready */
	bool waiting_for; /* kubectl wait of it runs, not get */
	int attempts_left;
	uint64_t interval_ms;
	uint64_t deadline; /* of uv_now() */
	struct child *child;
	char *problem;   /* why the last attempt failed */
	uv_timer_t timer;
};

static void look(struct readiness *r);

/* ---- the folder ---- */

enum found { FOUND_UNKNOWN, FOUND_NOT_READY, FOUND_READY };

static bool is_named(const struct object_meta *meta, const struct object_ref *object)
{
	return strcmp(meta->ns, object->ns) == 0 && strcmp(meta->name, object->name) == 0;
}

static bool has_ready_endpoint(const struct world *world, const struct object_ref *service)
{
	for (size_t s = 0; s < world->slice_count; s++) {
		const struct endpoint_slice *slice = &world->slices[s];

		if (strcmp(slice->meta.ns, service->ns) != 0 || strcmp(slice->service, service->name) != 0)
			continue;
		for (size_t e = 0; e < slice->endpoint_count; e++)
			if (slice->endpoints[e].ready)
				return true;
	}
	return false;
}

/* Objects of each kind begin with their metadata. */
static bool list_has(const void *items, size_t count, size_t size, const struct object_ref *object)
{
	for (size_t i = 0; i < count; i++)
		if (is_named((const struct object_meta *)((const char *)items + i * size), object))
			return true;
	return false;
}

/* kubectl takes TYPE[.VERSION][.GROUP], in any case and number. */
static bool is_kind(const struct object_ref *object, const char *kind)
{
	size_t n = strlen(kind);
	const char *rest = object->kind + n;

	if (strncasecmp(object->kind, kind, n) != 0)
		return false;
	return *rest == '\0' || *rest == '.' || (strncasecmp(rest, "s", 1) == 0 && (rest[1] == '\0' || rest[1] == '.'));
}

static enum found find(const struct world *world, const struct object_ref *object)
{
#define HAS(list, count) list_has(world->list, world->count, sizeof(*world->list), object)
	if (!world)
		return FOUND_UNKNOWN;
	if (is_kind(object, "Service") && HAS(services, service_count))
		return !object->wait_for || has_ready_endpoint(world, object) ? FOUND_READY : FOUND_NOT_READY;
	if ((is_kind(object, "EndpointSlice") && HAS(slices, slice_count)) || (is_kind(object, "VirtualService") && HAS(virtual_services, virtual_service_count)) ||
	    (is_kind(object, "Experiment") && HAS(experiments, experiment_count)) || (is_kind(object, "Metric") && HAS(metrics, metric_count)))
		return FOUND_READY;
	return FOUND_UNKNOWN;
#undef HAS
}

/* ---- its end ---- */

static void timer_closed(uv_handle_t *handle)
{
	struct readiness *r = handle->data;

	for (size_t i = 0; i < r->object_count; i++) {
		free(r->objects[i].kind);
		free(r->objects[i].ns);
		free(r->objects[i].name);
		free(r->objects[i].wait_for);
	}
	free(r->objects);
	free(r->problem);
	free(r);
}

static void cancel(void *work)
{
	struct readiness *r = work;

	child_cancel(&r->child);
	uv_close((uv_handle_t *)&r->timer, timer_closed);
}

static void finish(struct readiness *r)
{
	struct task_run *run = r->run;
	_cleanup_free_ char *message = NULL;
	bool ok = r->next == r->object_count;

	if (ok)
		message = text_printf("%s found %zu object%s ready", run->what, r->object_count, r->object_count == 1 ? "" : "s");
	else
		message = text_printf("%s gave up on %s %s/%s: %s", run->what, r->objects[r->next].kind, r->objects[r->next].ns, r->objects[r->next].name,
				      r->problem ?: "out of memory");
	uv_close((uv_handle_t *)&r->timer, timer_closed);
	task_finish(run, ok, message ?: "out of memory", NULL);
}

static void look_again(uv_timer_t *timer)
{
	look(timer->data);
}

/* The object is not ready: later, or never. */
static void retry(struct readiness *r)
{
	uv_loop_t *loop = r->timer.loop;

	uv_update_time(loop);
	if (r->attempts_left-- <= 0 || uv_now(loop) + r->interval_ms > r->deadline)
		finish(r);
	else
		uv_timer_start(&r->timer, look_again, r->interval_ms, 0);
}

/* ---- kubectl ---- */

static void kubectl_ended(void *arg, const struct child_end *end);

static void ask_kubectl(struct readiness *r)
{
	const struct object_ref *object = &r->objects[r->next];
	const struct child_options options = { .user = r->run->user, .deadline_ms = r->run->deadline_ms };
	_cleanup_free_ char *target = text_printf("%s/%s", object->kind, object->name), *wait = NULL, *problem = NULL;
	char *get_args[] = { (char *)"kubectl", (char *)"get", target, (char *)"-n", object->ns, NULL };
	char *wait_args[] = { (char *)"kubectl", (char *)"wait", target, (char *)"-n", object->ns, NULL, (char *)"--timeout=0s", NULL };
	int result;

	wait = text_printf("--for=%s", object->wait_for ?: "");
	wait_args[5] = wait;
	result = target && wait ? child_start(r->timer.loop, r->waiting_for ? wait_args : get_args, &options, kubectl_ended, r, &r->child, &problem) : -ENOMEM;
	if (result == 0)
		return;
	text_replace(&r->problem, "it is not in the folder, and %s", problem ?: strerror(-result));
	retry(r);
}

static void kubectl_ended(void *arg, const struct child_end *end)
{
	struct readiness *r = arg;

	r->child = NULL;
	if (!child_ended_well(end)) {
		_cleanup_free_ char *text = child_end_text(r->waiting_for ? "kubectl wait" : "kubectl get", end);

		r->waiting_for = false;
		text_replace(&r->problem, "it is not in the folder, and %s", text ?: "out of memory");
		retry(r);
		return;
	}
	if (!r->waiting_for && r->objects[r->next].wait_for) {
		r->waiting_for = true;
	} else {
		r->waiting_for = false;
		r->next++;
	}
	look(r);
}

/* ---- looking ---- */

static void look(struct readiness *r)
{
	for (; r->next < r->object_count; r->next++) {
		enum found found = r->waiting_for ? FOUND_UNKNOWN : find(r->world ? *r->world : NULL, &r->objects[r->next]);

		if (found == FOUND_UNKNOWN) {
			ask_kubectl(r);
			return;
		}
		if (found == FOUND_NOT_READY) {
			text_replace(&r->problem, "it has no ready endpoint");
			retry(r);
			return;
		}
	}
	finish(r);
}

/* ---- its beginning ---- */

static int add_object(struct readiness *r, const json_t *ref, const char *ns)
{
	struct object_ref *longer = reallocarray(r->objects, r->object_count + 1, sizeof(*longer)), *object;
	const char *own_ns = json_string_value(json_object_get(ref, "namespace")), *wait_for = json_string_value(json_object_get(ref, "waitFor"));

	if (!longer)
		return -ENOMEM;
	r->objects = longer;
	object = &longer[r->object_count++];
	*object = (struct object_ref){
		.kind = strdup(json_string_value(json_object_get(ref, "kind")) ?: ""),
		.ns = strdup(own_ns && *own_ns ? own_ns : ns),
		.name = strdup(json_string_value(json_object_get(ref, "name")) ?: ""),
		.wait_for = wait_for ? strdup(wait_for) : NULL,
	};
	return object->kind && object->ns && object->name && !object->wait_for == !wait_for ? 0 : -ENOMEM;
}

/* Those of the task, then the objects that hold the versions' weights. */
static int add_objects(struct readiness *r, const struct task *task, const struct experiment *e)
{
	const json_t *refs = json_object_get(task->with, "objRefs");
	int result = 0;

	for (size_t i = 0; i < json_array_size(refs) && result == 0; i++)
		result = add_object(r, json_array_get(refs, i), e->meta.ns);
	for (size_t v = 0; v < e->version_count && result == 0; v++) {
		if (e->versions[v].weight_obj_ref)
			result = add_object(r, e->versions[v].weight_obj_ref, e->meta.ns);
	}
	return result;
}

static int start(struct task_run *run, const struct task *task, const struct task_context *context, char **ret_problem)
{
	struct readiness *r = calloc(1, sizeof(*r));

	(void)ret_problem;
	if (!r)
		return -ENOMEM;
	r->run = run;
	r->world = context->world;
	r->attempts_left = (int)task_number(task, "numRetries", RETRIES);
	r->interval_ms = (uint64_t)(1000 * task_number(task, "intervalSeconds", INTERVAL_S));
	uv_timer_init(run->loop, &r->timer);
	r->timer.data = r;
	if (add_objects(r, task, context->experiment) < 0) {
		uv_close((uv_handle_t *)&r->timer, timer_closed);
		return -ENOMEM;
	}
	uv_update_time(run->loop);
	r->deadline = uv_now(run->loop) + run->deadline_ms;
	run->work = r;
	uv_timer_start(&r->timer, look_again, (uint64_t)(1000 * task_number(task, "initialDelaySeconds", DELAY_S)), 0);
	return 0;
}

/* RFC 1123 section 2.1, which kubectl would refuse otherwise; and no word that it would take for an option. */
static bool is_label(const char *text)
{
	size_t n = text ? strlen(text) : 0;

	return n > 0 && n <= 253 && strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n && text[0] != '-' && text[0] != '.';
}

static int check(const struct task *task, char **ret_problem)
{
	const json_t *ref;
	size_t i;

	json_array_foreach(json_object_get(task->with, "objRefs"), i, ref) {
		const char *kind = json_string_value(json_object_get(ref, "kind")), *ns = json_string_value(json_object_get(ref, "namespace"));

		if (!kind || !*kind || kind[0] == '-' || strchr(kind, '/'))
			*ret_problem = text_printf("%s.with.objRefs[%zu].kind: allowed: a kind as kubectl takes it, such as Service", task->path, i);
		else if (!is_label(json_string_value(json_object_get(ref, "name"))))
			*ret_problem = text_printf("%s.with.objRefs[%zu].name: allowed: a DNS label (RFC 1123)", task->path, i);
		else if (ns && !is_label(ns))
			*ret_problem = text_printf("%s.with.objRefs[%zu].namespace: allowed: a DNS label (RFC 1123)", task->path, i);
		else
			continue;
		return -EINVAL;
	}
	return 0;
}

static const char *const object_keys[] = { "kind", "namespace", "name", "waitFor", NULL };

static const struct task_input inputs[] = {
	{ "initialDelaySeconds", .type = INPUT_COUNT },
	{ "numRetries", .type = INPUT_COUNT },
	{ "intervalSeconds", .type = INPUT_COUNT },
	{ "objRefs", .type = INPUT_OBJECTS, .keys = object_keys },
};

const struct task_kind task_readiness = { "common/readiness", INPUTS(inputs), .check = check, .start = start, .cancel = cancel };
