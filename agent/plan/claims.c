/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which addresses and ports a route steers, and for which hosts there. Three ways lead to a VirtualService:
 *
 *     annotation shunt.dev/frontend: 10.0.0.1:80,[fd00::1]:80      ──▶ these, for spec.hosts
 *     spec.gateways [ns/name]; a Service that has the annotation
 *     shunt.dev/gateway: ns/name (it stands for the gateway)       ──▶ its addresses and TCP ports, for spec.hosts
 *     spec.gateways [mesh], or none written; a host that names
 *     a Service                                                    ──▶ its addresses and TCP ports, for any host: only its traffic arrives there
 *
 * As in Istio, a VirtualService that lists gateways without "mesh" does not touch the traffic inside the cluster.
 *
 * An HTTPRoute has the annotation, too, and its parents: a listener of a Gateway at the Gateway's addresses (else those of the Service that stands for
 * it) for the hosts that both name; a Service for any host. Several HTTPRoutes may have one host: their rules are put in one order (plan.c).
 */
#include "plan/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "util/addr.h"
#include "util/cleanup.h"

#define ANNOTATION_FRONTEND "shunt.dev/frontend"
#define ANNOTATION_GATEWAY "shunt.dev/gateway"
#define GATEWAY_CLASS "shunt"
#define LIST_SEPARATORS ", \t\n"
#define HOST_MAX (SHUNT_ID_MAX - 1) /* the kernel compares that much: a longer Host is cut to SHUNT_ID_MAX bytes and must not seem equal */

/* ---- comparing -------------------------------------------------------------------------------------------------------------------------- */

/* Bigger is more specific. */
static size_t specificity(const struct claim *claim)
{
	switch (claim->match) {
	case SHUNT_HOST_EXACT:
		return SIZE_MAX;
	case SHUNT_HOST_SUFFIX:
		return strlen(claim->host);
	case SHUNT_HOST_ANY:
		break;
	}
	return 0;
}

int claim_compare(const struct claim *a, const struct claim *b)
{
	size_t sa = specificity(a), sb = specificity(b);

	if (sa != sb)
		return sa > sb ? -1 : 1;
	return a < b ? -1 : a > b; /* their order in planner->claims: creation, then namespace/name */
}

bool claim_same_host(const struct claim *a, const struct claim *b)
{
	return a->match == b->match && (a->match == SHUNT_HOST_ANY || strcasecmp(a->host, b->host) == 0);
}

bool claim_covers(const struct claim *a, const struct claim *b)
{
	size_t len = a->host ? strlen(a->host) : 0, other = b->host ? strlen(b->host) : 0;

	if (a->match == SHUNT_HOST_ANY)
		return true;
	if (a->match == SHUNT_HOST_EXACT || b->match == SHUNT_HOST_ANY)
		return claim_same_host(a, b);
	return (b->match == SHUNT_HOST_EXACT ? other > len : other >= len) && strcasecmp(b->host + other - len, a->host) == 0;
}

static bool is_request(const struct virtual_service *vs)
{
	return vs->http_count > 0;
}

/* ---- one claim -------------------------------------------------------------------------------------------------------------------------- */

static const char *host_text(const struct claim *claim, char text[300])
{
	snprintf(text, 300, "%s%s", claim->match == SHUNT_HOST_SUFFIX ? "*" : "", claim->match == SHUNT_HOST_ANY ? "*" : claim->host);
	return text;
}

/* Does an earlier claim stand against this one? Says so. *ret_known: it is an earlier claim of the same VirtualService, said twice. */
static bool is_contested(struct planner *planner, const struct claim *claim, const struct place *place, bool *ret_known)
{
	char frontend[ADDR_PORT_TEXT_MAX], host[300];
	size_t held = 0;

	*ret_known = false;
	addr_port_text(&claim->key.addr, ntohs(claim->key.port), frontend);
	for (size_t i = 0; i < planner->claim_count; i++) {
		const struct claim *earlier = &planner->claims[i];
		const struct object_meta *other = &earlier->vs->meta;

		if (memcmp(&earlier->key, &claim->key, sizeof(claim->key)) != 0)
			continue;
		held++;
		if (is_request(earlier->vs) != is_request(claim->vs)) {
			note(planner, NOTE_ERROR, place,
			     "frontend %s: %s %s/%s (%s:%d) came first and has %s, this one %s; a frontend is of one kind. It is left out here",
			     frontend, words_of(earlier->vs)->kind, other->ns, other->name, other->file, other->line, words_of(earlier->vs)->items,
			     words_of(claim->vs)->items);
			return true;
		}
		if (!claim_same_host(earlier, claim))
			continue;
		*ret_known = earlier->vs == claim->vs;
		if (!*ret_known && earlier->vs->gateway_api && claim->vs->gateway_api)
			continue;
		if (!*ret_known)
			note(planner, NOTE_ERROR, place,
			     "two routes on one frontend: %s for host %s belongs to %s %s/%s (%s:%d), which came first and goes on steering. Change a host or an address",
			     frontend, host_text(claim, host), words_of(earlier->vs)->kind, other->ns, other->name, other->file, other->line);
		return true;
	}
	if (held < SHUNT_ROUTES_PER_FRONTEND)
		return false;
	note(planner, NOTE_ERROR, place, "frontend %s has %d routes already, more is not possible; host %s is left out there", frontend,
	     SHUNT_ROUTES_PER_FRONTEND, host_text(claim, host));
	return true;
}

static int add_claim(struct planner *planner, const struct claim *claim, const struct place *place)
{
	struct claim *added;
	bool known;

	if (is_contested(planner, claim, place, &known))
		return 0;
	added = ARRAY_APPEND(planner->claims, planner->claim_count);
	if (!added)
		return -ENOMEM;
	*added = *claim;
	return 0;
}

/* The claim gets a host as manifests write it; NULL: any. */
static void set_host(struct claim *claim, const char *host)
{
	claim->match = !host || strcmp(host, "*") == 0 ? SHUNT_HOST_ANY : strncmp(host, "*.", 2) == 0 ? SHUNT_HOST_SUFFIX : SHUNT_HOST_EXACT;
	claim->host = claim->match == SHUNT_HOST_ANY ? NULL : claim->match == SHUNT_HOST_SUFFIX ? host + 1 : host;
}

/* Claims an address and port for those hosts of the route that `listener` (a host, NULL: any) names, too: the narrower of both. */
static int claim_for_hosts_within(struct planner *planner, const struct virtual_service *vs, const struct shunt_frontend_key *key,
				  const struct place *place, const char *listener)
{
	struct claim outer = { .key = *key, .vs = vs };
	int r = 0;

	set_host(&outer, listener);
	if (!is_request(vs) || vs->host_count == 0) /* of a connection no Host can be read */
		return add_claim(planner, &outer, place);
	for (size_t i = 0; i < vs->host_count && r == 0; i++) {
		struct place at = place_of_route(vs, 0, vs->gateway_api ? "spec.hostnames[%zu]" : "spec.hosts[%zu]", i);
		struct claim claim = { .key = *key, .vs = vs };

		set_host(&claim, vs->hosts[i]);
		if (claim.host && strlen(claim.host) > HOST_MAX)
			note(planner, NOTE_ERROR, &at, "host '%s' has %zu bytes, allowed are %d; it is left out", vs->hosts[i], strlen(claim.host),
			     HOST_MAX);
		else if (claim_covers(&outer, &claim))
			r = add_claim(planner, &claim, place);
		else if (claim_covers(&claim, &outer))
			r = add_claim(planner, &outer, place);
	}
	return r;
}

/* Claims an address and port for all hosts of the route. */
static int claim_for_hosts(struct planner *planner, const struct virtual_service *vs, const struct shunt_frontend_key *key,
			   const struct place *place)
{
	return claim_for_hosts_within(planner, vs, key, place, NULL);
}

/* ---- the three ways --------------------------------------------------------------------------------------------------------------------- */

static int claim_annotated(struct planner *planner, const struct virtual_service *vs)
{
	const char *annotation = json_string_value(json_object_get(vs->meta.annotations, ANNOTATION_FRONTEND));
	struct place place = place_of_route(vs, 0, "metadata.annotations[%s]", ANNOTATION_FRONTEND);
	_cleanup_free_ char *list = annotation ? strdup(annotation) : NULL;
	char *rest;

	if (!annotation)
		return 0;
	if (!list)
		return -ENOMEM;
	for (char *item = strtok_r(list, LIST_SEPARATORS, &rest); item; item = strtok_r(NULL, LIST_SEPARATORS, &rest)) {
		struct shunt_frontend_key key = {};
		uint16_t port;
		int r;

		if (addr_port_parse(item, &key.addr, &port) < 0) {
			note(planner, NOTE_ERROR, &place,
			     "found '%s', allowed are address:port with ports 1 to 65535, such as 10.0.0.1:80,[fd00::1]:80; it is left out",
			     item);
			continue;
		}
		key.port = htons(port);
		r = claim_for_hosts(planner, vs, &key, &place);
		if (r < 0)
			return r;
	}
	return 0;
}

/* All addresses and TCP ports of a Service; for the hosts of the VirtualService, or for any. */
static int claim_service(struct planner *planner, const struct virtual_service *vs, const struct service *service, uint16_t port,
			 bool any_host, const struct place *place)
{
	struct claim claim = { .vs = vs };
	int r = 0;

	if (service->address_count == 0)
		note(planner, NOTE_WARNING, place,
		     "Service %s/%s (%s:%d) has no address (clusterIP or externalIPs), so no traffic can be steered there",
		     service->meta.ns, service->meta.name, service->meta.file, service->meta.line);
	for (size_t a = 0; a < service->address_count; a++) {
		if (addr_parse(service->addresses[a], &claim.key.addr) < 0) {
			note(planner, NOTE_ERROR, place,
			     "Service %s/%s has the address '%s', allowed are IPv4 and IPv6 addresses; it is left out", service->meta.ns,
			     service->meta.name, service->addresses[a]);
			continue;
		}
		for (size_t p = 0; p < service->port_count && r == 0; p++) {
			claim.key.port = htons(service->ports[p].port);
			if (service->ports[p].tcp && (!port || port == service->ports[p].port))
				r = any_host ? add_claim(planner, &claim, place) : claim_for_hosts(planner, vs, &claim.key, place);
		}
	}
	return r;
}

static bool list_has(const char *list, const char *item)
{
	size_t len = strlen(item);

	while (list && *list) {
		size_t n;

		list += strspn(list, LIST_SEPARATORS);
		n = strcspn(list, LIST_SEPARATORS);
		if (n == len && strncmp(list, item, len) == 0)
			return true;
		list += n;
	}
	return false;
}

static int claim_gateway(struct planner *planner, const struct virtual_service *vs, size_t gateway)
{
	struct place place = place_of_route(vs, 0, "spec.gateways[%zu]", gateway);
	bool found = false;

	for (size_t i = 0; i < planner->world->service_count; i++) {
		const struct service *service = &planner->world->services[i];
		const char *list = json_string_value(json_object_get(service->meta.annotations, ANNOTATION_GATEWAY));
		int r;

		if (!list_has(list, vs->gateways[gateway]))
			continue;
		found = true;
		r = claim_service(planner, vs, service, 0, false, &place);
		if (r < 0)
			return r;
	}
	if (!found)
		note(planner, NOTE_WARNING, &place,
		     "no Service has the annotation %s: %s, so the gateway's addresses are not known; annotate the Service in front of it",
		     ANNOTATION_GATEWAY, vs->gateways[gateway]);
	return 0;
}

static int claim_mesh(struct planner *planner, const struct virtual_service *vs)
{
	for (size_t i = 0; i < vs->host_count; i++) {
		const struct service *service = host_service(planner->world, vs->hosts[i], vs->meta.ns);
		struct place place = place_of_route(vs, 0, "spec.hosts[%zu]", i);
		int r = service ? claim_service(planner, vs, service, 0, true, &place) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- an HTTPRoute's parents ------------------------------------------------------------------------------------------------------------- */

static int claim_address(struct planner *planner, const struct virtual_service *vs, const char *address, const struct listener *listener,
			 const struct place *place)
{
	struct shunt_frontend_key key = { .port = htons(listener->port) };

	if (addr_parse(address, &key.addr) == 0)
		return claim_for_hosts_within(planner, vs, &key, place, listener->hostname);
	note(planner, NOTE_ERROR, place, "the gateway's address is '%s', allowed are IPv4 and IPv6 addresses; it is left out", address);
	return 0;
}

/* A Gateway's own addresses; without any, those of the Services that stand for it. */
static int claim_listener(struct planner *planner, const struct virtual_service *vs, const struct gateway *gateway, const struct listener *listener,
			  const struct place *place)
{
	char name[512];
	int r = 0;

	for (size_t a = 0; a < gateway->address_count && r == 0; a++)
		r = claim_address(planner, vs, gateway->addresses[a], listener, place);
	snprintf(name, sizeof(name), "%s/%s", gateway->meta.ns, gateway->meta.name);
	for (size_t i = 0; i < planner->world->service_count && gateway->address_count == 0; i++) {
		const struct service *service = &planner->world->services[i];

		if (!list_has(json_string_value(json_object_get(service->meta.annotations, ANNOTATION_GATEWAY)), name))
			continue;
		for (size_t a = 0; a < service->address_count && r == 0; a++)
			r = claim_address(planner, vs, service->addresses[a], listener, place);
	}
	return r;
}

/* May the route attach to the listener? What speaks against it is noted, unless the parent does not mean the listener. */
static bool listener_takes(struct planner *planner, const struct virtual_service *vs, const struct gateway *gateway, const struct listener *listener,
			   const struct parent_ref *parent, const struct place *place)
{
	static const char *const protocols[] = { "HTTP", "HTTPS", "TLS", "TCP", "UDP" };
	bool same_ns = strcmp(gateway->meta.ns, vs->meta.ns) == 0;

	if ((parent->section && strcmp(parent->section, listener->name) != 0) || (parent->port && parent->port != listener->port))
		return false;
	if (listener->protocol != PROTOCOL_HTTP) {
		note(planner, NOTE_WARNING, place, "listener '%s' of Gateway %s/%s has the protocol %s; requests are read in plain HTTP only, so it is left out",
		     listener->name, gateway->meta.ns, gateway->meta.name, protocols[listener->protocol]);
		return false;
	}
	if (listener->from == FROM_ALL || (listener->from == FROM_SAME && same_ns))
		return true;
	note(planner, NOTE_ERROR, place,
	     "listener '%s' of Gateway %s/%s (%s:%d) does not take routes of namespace %s; allowedRoutes.namespaces.from may be Same or All (Selector is not done yet)",
	     listener->name, gateway->meta.ns, gateway->meta.name, gateway->meta.file, gateway->meta.line, vs->meta.ns);
	return false;
}

static int claim_parent_gateway(struct planner *planner, const struct virtual_service *vs, const struct parent_ref *parent, const struct place *place)
{
	const struct gateway *gateway = world_gateway(planner->world, parent->ns, parent->name);
	size_t notes = planner->tables->note_count, claims = planner->claim_count;

	if (!gateway) {
		note(planner, NOTE_ERROR, place, "there is no Gateway %s/%s; create it or correct the name", parent->ns, parent->name);
		return 0;
	}
	if (strcmp(gateway->class_name, GATEWAY_CLASS) != 0) {
		note(planner, NOTE_WARNING, place, "Gateway %s/%s is of the class '%s', and shunt carries out '%s'; it is left to its own controller",
		     parent->ns, parent->name, gateway->class_name, GATEWAY_CLASS);
		return 0;
	}
	for (size_t i = 0; i < gateway->unsupported_count; i++) {
		struct place at = place_of(&gateway->meta, "Gateway", 0, "%s", "");

		note(planner, NOTE_WARNING, &at, "%s is accepted, not done yet", gateway->unsupported[i]);
	}
	for (size_t i = 0; i < gateway->listener_count; i++) {
		int r = listener_takes(planner, vs, gateway, &gateway->listeners[i], parent, place) ?
				claim_listener(planner, vs, gateway, &gateway->listeners[i], place) : 0;

		if (r < 0)
			return r;
	}
	if (planner->claim_count == claims && planner->tables->note_count == notes)
		note(planner, NOTE_ERROR, place,
		     "no listener of Gateway %s/%s leads here: none has this sectionName, port and one of the hostnames at an address; write spec.addresses, or the annotation %s: %s/%s on the Service in front of it",
		     parent->ns, parent->name, ANNOTATION_GATEWAY, parent->ns, parent->name);
	return 0;
}

static int claim_parents(struct planner *planner, const struct virtual_service *vs)
{
	int r = 0;

	for (size_t i = 0; i < vs->parent_count && r == 0; i++) {
		const struct parent_ref *parent = &vs->parents[i];
		struct place place = place_of_route(vs, 0, "spec.parentRefs[%zu]", i);
		const struct service *service = parent->service ? world_service(planner->world, parent->ns, parent->name) : NULL;

		if (!parent->service)
			r = claim_parent_gateway(planner, vs, parent, &place);
		else if (service)
			r = claim_service(planner, vs, service, parent->port, true, &place);
		else
			note(planner, NOTE_ERROR, &place, "there is no Service %s/%s; create it or correct the name", parent->ns, parent->name);
	}
	return r;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------ */

static int claim_route(struct planner *planner, const struct virtual_service *vs)
{
	size_t notes = planner->tables->note_count, claims = planner->claim_count;
	struct place place = place_of_route(vs, 0, "%s", vs->gateway_api ? "spec.parentRefs" : "spec.hosts");
	int r = claim_annotated(planner, vs);

	if (r == 0)
		r = claim_parents(planner, vs);

	for (size_t g = 0; g < vs->gateway_count && r == 0; g++)
		r = strcmp(vs->gateways[g], "mesh") == 0 ? claim_mesh(planner, vs) : claim_gateway(planner, vs, g);
	if (r < 0 || planner->claim_count > claims)
		return r;
	if (planner->tables->note_count == notes && !vs->gateway_api)
		note(planner, NOTE_ERROR, &place,
		     "no host names a Service that is there; for other hosts write the annotation %s: address:port, or spec.gateways and a Service with the annotation %s",
		     ANNOTATION_FRONTEND, ANNOTATION_GATEWAY);
	note(planner, NOTE_ERROR, &place, "no frontend leads to this route, so it steers nothing");
	return 0;
}

int claims_collect(struct planner *planner)
{
	for (size_t i = 0; i < planner->route_count; i++) {
		int r = claim_route(planner, planner->routes[i]);

		if (r < 0)
			return r;
	}
	return 0;
}
