/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Which addresses and ports a VirtualService steers, and for which hosts there. Three ways lead to it:
 *
 *     annotation shunt.dev/frontend: 10.0.0.1:80,[fd00::1]:80      ──▶ these, for spec.hosts
 *     spec.gateways [ns/name]; a Service that has the annotation
 *     shunt.dev/gateway: ns/name (it stands for the gateway)       ──▶ its addresses and TCP ports, for spec.hosts
 *     spec.gateways [mesh], or none written; a host that names
 *     a Service                                                    ──▶ its addresses and TCP ports, for any host: only its traffic arrives there
 *
 * As in Istio, a VirtualService that lists gateways without "mesh" does not touch the traffic inside the cluster.
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
			     "frontend %s: VirtualService %s/%s (%s:%d) came first and has spec.%s, this one spec.%s; a frontend is of one kind. It is left out here",
			     frontend, other->ns, other->name, other->file, other->line, is_request(earlier->vs) ? "http" : "tcp",
			     is_request(claim->vs) ? "http" : "tcp");
			return true;
		}
		if (!claim_same_host(earlier, claim))
			continue;
		*ret_known = earlier->vs == claim->vs;
		if (!*ret_known)
			note(planner, NOTE_ERROR, place,
			     "two routes on one frontend: %s for host %s belongs to VirtualService %s/%s (%s:%d), which came first and goes on steering. Change a host or an address",
			     frontend, host_text(claim, host), other->ns, other->name, other->file, other->line);
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

/* Claims an address and port for all hosts of the VirtualService. Of a connection no Host can be read: it is claimed for any. */
static int claim_for_hosts(struct planner *planner, const struct virtual_service *vs, const struct shunt_frontend_key *key,
			   const struct place *place)
{
	struct claim claim = { .key = *key, .vs = vs };
	int r = 0;

	if (!is_request(vs))
		return add_claim(planner, &claim, place);
	for (size_t i = 0; i < vs->host_count && r == 0; i++) {
		const char *host = vs->hosts[i];
		struct place at = place_of_route(vs, 0, "spec.hosts[%zu]", i);

		claim.match = strcmp(host, "*") == 0 ? SHUNT_HOST_ANY : strncmp(host, "*.", 2) == 0 ? SHUNT_HOST_SUFFIX : SHUNT_HOST_EXACT;
		claim.host = claim.match == SHUNT_HOST_ANY ? NULL : claim.match == SHUNT_HOST_SUFFIX ? host + 1 : host;
		if (!claim.host || strlen(claim.host) <= HOST_MAX)
			r = add_claim(planner, &claim, place);
		else
			note(planner, NOTE_ERROR, &at, "host '%s' has %zu bytes, allowed are %d; it is left out", host, strlen(claim.host),
			     HOST_MAX);
	}
	return r;
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
static int claim_service(struct planner *planner, const struct virtual_service *vs, const struct service *service, bool any_host,
			 const struct place *place)
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
			if (service->ports[p].tcp)
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
		r = claim_service(planner, vs, service, false, &place);
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
		int r = service ? claim_service(planner, vs, service, true, &place) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------ */

static int claim_route(struct planner *planner, const struct virtual_service *vs)
{
	size_t notes = planner->tables->note_count, claims = planner->claim_count;
	struct place place = place_of_route(vs, 0, "spec.hosts");
	int r = claim_annotated(planner, vs);

	for (size_t g = 0; g < vs->gateway_count && r == 0; g++)
		r = strcmp(vs->gateways[g], "mesh") == 0 ? claim_mesh(planner, vs) : claim_gateway(planner, vs, g);
	if (r < 0 || planner->claim_count > claims)
		return r;
	if (planner->tables->note_count == notes)
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
