/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a destination to pods, as Kubernetes has it:
 *
 *     destination ─▶ Service ─▶ its port ─▶ EndpointSlices of the Service ─▶ the slice's port of that name ─▶ ready endpoints ─▶ ring
 *     host, port                 name 8080     label service-name               (targetPort is in there)       not terminating
 *
 * A ring for each family; and where pods are on other nodes, a second one of those that are on this, for clients that may not or cannot leave it. A pod's name in the ring is its address and port, so a user stays on a pod as long as it is there.
 */
#include "plan/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plan/maglev.h"
#include "util/addr.h"
#include "util/cleanup.h"

#define LIST_MAX 512 /* of names in a message */

/* ---- Services --------------------------------------------------------------------------------------------------------------------------- */

bool host_parse(const char *host, const char *ns, struct host_name *ret_name)
{
	static const char *const suffixes[] = { "", ".svc", ".svc.cluster.local" };
	struct host_name name = {};
	const char *dot = strchr(host, '.');
	size_t service_len = dot ? (size_t)(dot - host) : strlen(host);
	const char *rest = dot ? dot + 1 : ns;
	size_t ns_len = strcspn(rest, ".");

	if (service_len == 0 || service_len >= sizeof(name.service) || ns_len == 0 || ns_len >= sizeof(name.ns) || strchr(host, '*'))
		return false;
	memcpy(name.service, host, service_len);
	memcpy(name.ns, rest, ns_len);
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		if (strcmp(rest + ns_len, suffixes[i]) != 0)
			continue;
		*ret_name = name;
		return true;
	}
	return false;
}

const struct service *host_service(const struct world *world, const char *host, const char *ns)
{
	struct host_name name;

	return host_parse(host, ns, &name) ? world_service(world, name.ns, name.service) : NULL;
}

static void list_services(const struct world *world, const char *ns, char list[LIST_MAX])
{
	size_t used = 0;

	strcpy(list, "none");
	for (size_t i = 0; i < world->service_count && used < LIST_MAX; i++)
		if (strcmp(world->services[i].meta.ns, ns) == 0)
			used += snprintf(list + used, LIST_MAX - used, "%s%s", used ? ", " : "", world->services[i].meta.name);
}

static void list_ports(const struct service *service, char list[LIST_MAX])
{
	size_t used = 0;

	strcpy(list, "none");
	for (size_t i = 0; i < service->port_count && used < LIST_MAX; i++)
		if (service->ports[i].tcp)
			used += snprintf(list + used, LIST_MAX - used, "%s%u", used ? ", " : "", service->ports[i].port);
}

static const struct service *find_service(struct planner *planner, const struct place *place, const struct virtual_service *vs,
					  const char *host)
{
	const struct service *service = host_service(planner->world, host, vs->meta.ns);
	struct host_name name;
	char list[LIST_MAX];

	if (service)
		return service;
	if (!host_parse(host, vs->meta.ns, &name)) {
		note(planner, NOTE_ERROR, place,
		     "destination host '%s' is no Service name; allowed are name, name.namespace and name.namespace.svc.cluster.local",
		     host);
		return NULL;
	}
	list_services(planner->world, name.ns, list);
	note(planner, NOTE_ERROR, place,
	     "a route whose Service does not exist: no Service '%s' in namespace '%s' (Services there: %s); create it or correct destination.host '%s'",
	     name.service, name.ns, list, host);
	return NULL;
}

/* The port that the destination names, else the only one, else the one that the client's connection went to. */
static const struct service_port *find_port(struct planner *planner, const struct place *place, const struct service *service,
					    uint16_t wanted, uint16_t frontend_port)
{
	const struct service_port *only = NULL;
	char list[LIST_MAX];
	size_t tcp = 0;

	for (size_t i = 0; i < service->port_count; i++) {
		const struct service_port *port = &service->ports[i];

		if (!port->tcp)
			continue;
		if (port->port == (wanted ? wanted : frontend_port))
			return port;
		only = port;
		tcp++;
	}
	if (!wanted && tcp == 1)
		return only;
	list_ports(service, list);
	if (wanted)
		note(planner, NOTE_ERROR, place, "Service %s/%s has no TCP port %u (its ports: %s); correct destination.port.number",
		     service->meta.ns, service->meta.name, wanted, list);
	else
		note(planner, NOTE_ERROR, place,
		     "Service %s/%s has no TCP port %u like the frontend and not just one (its ports: %s); write destination.port.number",
		     service->meta.ns, service->meta.name, frontend_port, list);
	return NULL;
}

/* ---- pods ------------------------------------------------------------------------------------------------------------------------------- */

/* A slice carries the Service port's name and the resolved targetPort; slices written by hand sometimes carry the targetPort's name, or only its number. */
static const struct slice_port *find_slice_port(const struct endpoint_slice *slice, const struct service_port *port)
{
	for (size_t i = 0; i < slice->port_count; i++)
		if (strcmp(slice->ports[i].name, port->name) == 0)
			return &slice->ports[i];
	for (size_t i = 0; i < slice->port_count; i++)
		if (port->target_name ? strcmp(slice->ports[i].name, port->target_name) == 0 : slice->ports[i].port == port->target)
			return &slice->ports[i];
	return NULL;
}

/* The pods of one ring-to-be. */
struct pod_list {
	struct shunt_pod *pods;
	size_t count;
};

static int add_pod(struct pod_list *list, const struct shunt_addr *addr, uint16_t port, bool elsewhere)
{
	struct shunt_pod pod = { .addr = *addr, .port = htons(port), .elsewhere = elsewhere }, *added;

	for (size_t i = 0; i < list->count; i++)
		if (memcmp(&list->pods[i], &pod, sizeof(pod)) == 0)
			return 0; /* in two slices for a moment, as Kubernetes allows */
	added = ARRAY_APPEND(list->pods, list->count);
	if (!added)
		return -ENOMEM;
	*added = pod;
	return 0;
}

static bool is_elsewhere(const struct planner *planner, const struct endpoint *endpoint)
{
	return planner->node && endpoint->node[0] && strcmp(endpoint->node, planner->node->name) != 0;
}

static int add_slice(struct planner *planner, const struct endpoint_slice *slice, const struct service_port *port,
		     struct pod_list lists[SHUNT_FAMILIES])
{
	const struct slice_port *slice_port = find_slice_port(slice, port);
	struct place place = place_of(&slice->meta, "EndpointSlice", 0, "ports");

	if (!slice_port) {
		note(planner, NOTE_WARNING, &place,
		     "no port has the name '%s' of port %u of Service %s, nor its targetPort; the slice's pods are left out", port->name,
		     port->port, slice->service);
		return 0;
	}
	for (size_t i = 0; i < slice->endpoint_count; i++) {
		const struct endpoint *endpoint = &slice->endpoints[i];
		struct shunt_addr addr;
		int r;

		/* Of several addresses of one endpoint consumers take the first (discovery.k8s.io/v1, Endpoint.addresses). */
		if (!endpoint->ready || endpoint->terminating || endpoint->address_count == 0)
			continue;
		if (addr_parse(endpoint->addresses[0], &addr) < 0) {
			place = place_of(&slice->meta, "EndpointSlice", 0, "endpoints[%zu].addresses[0]", i);
			note(planner, NOTE_ERROR, &place, "found '%s', allowed are IPv4 and IPv6 addresses; this pod is left out",
			     endpoint->addresses[0]);
			continue;
		}
		r = add_pod(&lists[addr_is_v4(&addr) ? SHUNT_V4 : SHUNT_V6], &addr, slice_port->port, is_elsewhere(planner, endpoint));
		if (r < 0)
			return r;
	}
	return 0;
}

/* The pod's index in the tables; a pod is there once, however many rings hold it. */
static int pod_index(struct planner *planner, const struct shunt_pod *pod, const char **ret_full)
{
	struct tables *t = planner->tables;
	struct shunt_pod *added;

	for (size_t i = 0; i < t->pod_count; i++)
		if (memcmp(&t->pods[i], pod, sizeof(*pod)) == 0)
			return i;
	added = TABLE_APPEND(planner, t->pods, t->pod_count, SHUNT_PODS, "pods", ret_full);
	if (!added)
		return planner->out_of_memory ? -ENOMEM : -ENOSPC;
	*added = *pod;
	return t->pod_count - 1;
}

static int fill_ring(const struct pod_list *list, struct shunt_ring *ring)
{
	_cleanup_free_ char(*names)[ADDR_PORT_TEXT_MAX] = calloc(list->count, sizeof(*names));
	_cleanup_free_ const char **pointers = calloc(list->count, sizeof(*pointers));

	if (!names || !pointers)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++) {
		pointers[i] = addr_port_text(&list->pods[i].addr, ntohs(list->pods[i].port), names[i]);
	}
	return maglev_fill(pointers, list->count, ring->pod, SHUNT_RING_SIZE);
}

/* Builds the ring of a list; its index goes to *ret_ring, SHUNT_NONE for an empty list. */
static int build_ring(struct planner *planner, const struct pod_list *list, uint16_t *ret_ring, const char **ret_full)
{
	struct tables *t = planner->tables;
	_cleanup_free_ uint16_t *index = NULL;
	struct shunt_ring *ring;
	int r;

	if (list->count == 0) {
		*ret_ring = SHUNT_NONE;
		return 0;
	}
	ring = TABLE_APPEND(planner, t->rings, t->ring_count, SHUNT_RINGS, "rings", ret_full);
	index = calloc(list->count, sizeof(*index));
	if (!ring || !index)
		return ring || planner->out_of_memory ? -ENOMEM : -ENOSPC;
	if (list->count > SHUNT_RING_SIZE) {
		*ret_full = "slots of a ring";
		return -ENOSPC;
	}
	for (size_t i = 0; i < list->count; i++) {
		r = pod_index(planner, &list->pods[i], ret_full);
		if (r < 0)
			return r;
		index[i] = r;
	}
	r = fill_ring(list, ring);
	if (r < 0)
		return r;
	for (size_t slot = 0; slot < SHUNT_RING_SIZE; slot++)
		ring->pod[slot] = index[ring->pod[slot]];
	*ret_ring = t->ring_count - 1;
	return 0;
}

/* The pods of a list that are on this node, in *ret_near (the caller frees its pods). */
static int list_near(const struct pod_list *list, struct pod_list *ret_near)
{
	struct pod_list near = { .pods = calloc(list->count + 1, sizeof(*near.pods)) };

	if (!near.pods)
		return -ENOMEM;
	for (size_t i = 0; i < list->count; i++)
		if (!list->pods[i].elsewhere)
			near.pods[near.count++] = list->pods[i];
	*ret_near = near;
	return 0;
}

/* Who will not be served, or not as he may think. */
static void check_elsewhere(struct planner *planner, const struct service *service, int family, size_t elsewhere, size_t here)
{
	struct place place = place_of(&service->meta, "Service", 0, "%s", "");
	const char *ip = family == SHUNT_V4 ? "IPv4" : "IPv6";

	if (!planner->node->uplink)
		note(planner, NOTE_INFO, &place,
		     "%zu of %zu %s pods are on other nodes; clients outside and processes of this node can use them only when shunt knows the interface that leads there (--uplink)",
		     elsewhere, elsewhere + here, ip);
	else if (!planner->node->address[family])
		note(planner, NOTE_WARNING, &place,
		     "%zu of %zu %s pods are on other nodes and this node's uplink has no %s address to which they could answer: clients outside and on the node itself get the pods of this node only%s",
		     elsewhere, elsewhere + here, ip, ip, here ? "" : ", and there is none");
}

static int build_rings(struct planner *planner, struct backend *backend, int family, const struct pod_list *list, const char **ret_full)
{
	_cleanup_free_ struct shunt_pod *pods = NULL;
	struct pod_list near = {};
	int r;

	r = build_ring(planner, list, &backend->ring[family], ret_full);
	if (r == 0)
		r = list_near(list, &near);
	if (r < 0)
		return r;
	pods = near.pods;
	backend->pods[family] = list->count;
	backend->near[family] = backend->ring[family];
	if (near.count == list->count)
		return 0;
	check_elsewhere(planner, backend->service, family, list->count - near.count, near.count);
	return build_ring(planner, &near, &backend->near[family], ret_full);
}

static int build_backend(struct planner *planner, struct backend *backend, const char **ret_full)
{
	struct pod_list lists[SHUNT_FAMILIES] = {};
	int r = 0;

	for (size_t i = 0; i < planner->world->slice_count && r == 0; i++) {
		const struct endpoint_slice *slice = &planner->world->slices[i];

		if (strcmp(slice->service, backend->service->meta.name) == 0 && strcmp(slice->meta.ns, backend->service->meta.ns) == 0)
			r = add_slice(planner, slice, backend->port, lists);
	}
	for (int family = 0; family < SHUNT_FAMILIES && r == 0; family++)
		r = build_rings(planner, backend, family, &lists[family], ret_full);
	for (int family = 0; family < SHUNT_FAMILIES; family++)
		free(lists[family].pods);
	return r;
}

int backend_get(struct planner *planner, const struct place *place, const struct virtual_service *vs,
		const struct http_destination *destination, uint16_t frontend_port, struct backend *ret_backend, const char **ret_full)
{
	struct backend backend = {}, *kept;
	int r;

	backend.service = find_service(planner, place, vs, destination->host);
	if (!backend.service)
		return -ENOENT;
	backend.port = find_port(planner, place, backend.service, destination->port, frontend_port);
	if (!backend.port)
		return -ENOENT;

	for (size_t i = 0; i < planner->backend_count; i++) {
		if (planner->backends[i].port == backend.port) {
			*ret_backend = planner->backends[i];
			return 0;
		}
	}
	r = build_backend(planner, &backend, ret_full);
	if (r < 0)
		return r;
	kept = ARRAY_APPEND(planner->backends, planner->backend_count);
	if (!kept)
		return -ENOMEM;
	*kept = backend;
	*ret_backend = backend;
	return 0;
}
