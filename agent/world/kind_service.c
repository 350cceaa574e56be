/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Service (v1) and EndpointSlice (discovery.k8s.io/v1), with all fields of Kubernetes 1.31: they come from `kubectl get -o yaml`. */
#include "world/kinds.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "util/cleanup.h"

static const char *const traffic_policies[] = { "Cluster", "Local", NULL };
static const char *const protocols[] = { "TCP", "UDP", "SCTP", NULL };

static bool is_address(const char *text, int family)
{
	unsigned char buffer[sizeof(struct in6_addr)];

	return inet_pton(family, text, buffer) == 1;
}

/* ---- Service */

static bool has_address(const struct service *service, const char *text)
{
	for (size_t i = 0; i < service->address_count; i++)
		if (strcmp(service->addresses[i], text) == 0)
			return true;
	return false;
}

/* "None" is a headless Service's and "" one's that has no address yet. clusterIP repeats the first of clusterIPs. */
static void decode_address(struct decoder *d, const struct cursor *at, void *target)
{
	struct service *service = target;
	_cleanup_free_ char *text = decode_string(d, at);

	if (!text || !*text || strcmp(text, "None") == 0)
		return;
	if (!is_address(text, AF_INET) && !is_address(text, AF_INET6))
		return decode_type_error(d, at, "an IPv4 or IPv6 address, None");
	if (!has_address(service, text))
		decode_append(d, &service->addresses, &service->address_count, TAKE_PTR(text));
}

static void decode_addresses(struct decoder *d, const struct cursor *at, void *target)
{
	if (!json_is_array(at->value))
		return decode_type_error(d, at, "a list of addresses");
	for (size_t i = 0; i < json_array_size(at->value); i++) {
		struct cursor item = cursor_item(at, i);

		decode_address(d, &item, target);
	}
}

static void decode_target_port(struct decoder *d, const struct cursor *at, void *target)
{
	static const char allowed[] = "an integer from 1 to 65535, or the name of a port of the pods";
	struct service_port *port = target;
	json_int_t number = json_integer_value(at->value);
	const char *name = json_string_value(at->value);

	if (name && *name && name[strspn(name, "0123456789")]) {
		port->target_name = decode_string(d, at);
		return;
	}
	if (!json_is_integer(at->value) || number < 1 || number > UINT16_MAX)
		return decode_type_error(d, at, allowed);
	port->target = (uint16_t)number;
}

static void check_service_port(struct decoder *d, const struct cursor *at, void *target)
{
	struct service_port *port = target;
	const char *protocol = json_string_value(json_object_get(at->value, "protocol"));

	(void)d;
	port->tcp = !protocol || strcmp(protocol, "TCP") == 0;
	if (!port->target && !port->target_name)
		port->target = port->port;
}

static const struct field service_port_fields[] = {
	{ "name", FIELD_STRING, AT(struct service_port, name), .text = "" },
	{ "port", FIELD_INT, AT(struct service_port, port), .required = true, .min = 1, .max = UINT16_MAX },
	{ "targetPort", FIELD_CUSTOM, .custom = decode_target_port },
	{ "protocol", FIELD_ENUM, .offset = FIELD_NOT_STORED, .names = protocols },
	{ "appProtocol", FIELD_STRING, AT(struct service_port, app_protocol), .text = "" },
	ACCEPTED("nodePort"),
};

static const struct schema service_port_schema = { FIELDS(service_port_fields), .size = sizeof(struct service_port), .check = check_service_port };

static const struct field service_spec_fields[] = {
	{ "clusterIPs", FIELD_CUSTOM, .custom = decode_addresses },
	{ "clusterIP", FIELD_CUSTOM, .custom = decode_address },
	{ "externalIPs", FIELD_CUSTOM, .custom = decode_addresses },
	{ "ports", FIELD_LIST, AT(struct service, ports), COUNT_AT(struct service, port_count), .schema = &service_port_schema },
	ACCEPTED("allocateLoadBalancerNodePorts"),
	ACCEPTED("externalName"),
	{ "externalTrafficPolicy", FIELD_ENUM, AT(struct service, external_local), .names = traffic_policies },
	ACCEPTED("healthCheckNodePort"),
	{ "internalTrafficPolicy", FIELD_ENUM, AT(struct service, internal_local), .names = traffic_policies },
	ACCEPTED("ipFamilies"),
	ACCEPTED("ipFamilyPolicy"),
	ACCEPTED("loadBalancerClass"),
	ACCEPTED("loadBalancerIP"),
	ACCEPTED("loadBalancerSourceRanges"),
	ACCEPTED("publishNotReadyAddresses"),
	{ "selector", FIELD_STRING_MAP, .offset = FIELD_NOT_STORED },
	ACCEPTED("sessionAffinity"),
	ACCEPTED("sessionAffinityConfig"),
	ACCEPTED("trafficDistribution"),
	ACCEPTED("type"),
};

static const struct schema service_spec_schema = { FIELDS(service_spec_fields) };

static const struct field service_fields[] = {
	DOCUMENT_FIELDS,
	{ "spec", FIELD_OBJECT, .schema = &service_spec_schema, .required = true },
};

const struct schema service_schema = { FIELDS(service_fields) };

void service_release(void *object)
{
	struct service *service = object;

	for (size_t i = 0; i < service->port_count; i++) {
		free(service->ports[i].name);
		free(service->ports[i].target_name);
		free(service->ports[i].app_protocol);
	}
	free(service->ports);
	strings_free(service->addresses, service->address_count);
}

/* ---- EndpointSlice */

static void check_endpoint(struct decoder *d, const struct cursor *at, void *target)
{
	struct endpoint *endpoint = target;

	(void)d;
	if (!json_is_boolean(json_object_get(json_object_get(at->value, "conditions"), "serving")))
		endpoint->serving = endpoint->ready;
}

static const struct field condition_fields[] = {
	{ "ready", FIELD_BOOL, AT(struct endpoint, ready), .fallback = true },
	{ "serving", FIELD_BOOL, AT(struct endpoint, serving) },
	{ "terminating", FIELD_BOOL, AT(struct endpoint, terminating) },
};

static const struct schema condition_schema = { FIELDS(condition_fields) };

static const struct field endpoint_fields[] = {
	{ "addresses", FIELD_STRINGS, AT(struct endpoint, addresses), COUNT_AT(struct endpoint, address_count), .required = true },
	{ "conditions", FIELD_OBJECT, .schema = &condition_schema },
	{ "nodeName", FIELD_STRING, AT(struct endpoint, node), .text = "" },
	ACCEPTED("deprecatedTopology"),
	ACCEPTED("hints"),
	ACCEPTED("hostname"),
	ACCEPTED("targetRef"),
	ACCEPTED("zone"),
};

static const struct schema endpoint_schema = { FIELDS(endpoint_fields), .size = sizeof(struct endpoint), .check = check_endpoint };

static const struct field slice_port_fields[] = {
	{ "name", FIELD_STRING, AT(struct slice_port, name), .text = "" },
	{ "port", FIELD_INT, AT(struct slice_port, port), .required = true, .min = 1, .max = UINT16_MAX },
	{ "protocol", FIELD_ENUM, .offset = FIELD_NOT_STORED, .names = protocols },
	ACCEPTED("appProtocol"),
};

static const struct schema slice_port_schema = { FIELDS(slice_port_fields), .size = sizeof(struct slice_port) };

static void check_slice_addresses(struct decoder *d, const struct cursor *at, const struct endpoint_slice *slice)
{
	const char *allowed = slice->ipv6 ? "an IPv6 address, as addressType says" : "an IPv4 address, as addressType says";
	struct cursor endpoints = cursor_member(at, "endpoints");

	for (size_t i = 0; i < slice->endpoint_count; i++) {
		struct cursor endpoint = cursor_item(&endpoints, i);
		struct cursor addresses = cursor_member(&endpoint, "addresses");

		for (size_t j = 0; j < slice->endpoints[i].address_count; j++) {
			struct cursor address = cursor_item(&addresses, j);

			if (!is_address(slice->endpoints[i].addresses[j], slice->ipv6 ? AF_INET6 : AF_INET))
				decode_type_error(d, &address, allowed);
		}
	}
}

/* Steering is TCP: a UDP port may have the same name as a TCP one and must not be taken for it. */
static void keep_tcp_ports(const struct cursor *at, struct endpoint_slice *slice)
{
	const json_t *ports = json_object_get(at->value, "ports");
	size_t kept = 0;

	for (size_t i = 0; i < slice->port_count; i++) {
		const char *protocol = json_string_value(json_object_get(json_array_get(ports, i), "protocol"));

		if (!protocol || strcmp(protocol, "TCP") == 0)
			slice->ports[kept++] = slice->ports[i];
		else
			free(slice->ports[i].name);
	}
	slice->port_count = kept;
}

static void check_slice(struct decoder *d, const struct cursor *at, void *target)
{
	struct endpoint_slice *slice = target;
	struct cursor metadata = cursor_member(at, "metadata"), labels = cursor_member(&metadata, "labels");
	struct cursor label = cursor_member(&labels, "kubernetes.io/service-name");

	if (!label.value)
		return decode_error(d, &label, "missing; it names the Service that the endpoints belong to");
	slice->service = decode_string(d, &label);
	check_slice_addresses(d, at, slice);
	keep_tcp_ports(at, slice);
}

static const char *const address_types[] = { "IPv4", "IPv6", NULL };

static const struct field endpoint_slice_fields[] = {
	DOCUMENT_FIELDS,
	{ "addressType", FIELD_ENUM, AT(struct endpoint_slice, ipv6), .names = address_types, .required = true },
	{ "endpoints", FIELD_LIST, AT(struct endpoint_slice, endpoints), COUNT_AT(struct endpoint_slice, endpoint_count),
	  .schema = &endpoint_schema },
	{ "ports", FIELD_LIST, AT(struct endpoint_slice, ports), COUNT_AT(struct endpoint_slice, port_count), .schema = &slice_port_schema },
};

const struct schema endpoint_slice_schema = { FIELDS(endpoint_slice_fields), .check = check_slice };

void endpoint_slice_release(void *object)
{
	struct endpoint_slice *slice = object;

	for (size_t i = 0; i < slice->endpoint_count; i++) {
		strings_free(slice->endpoints[i].addresses, slice->endpoints[i].address_count);
		free(slice->endpoints[i].node);
	}
	free(slice->endpoints);
	for (size_t i = 0; i < slice->port_count; i++)
		free(slice->ports[i].name);
	free(slice->ports);
	free(slice->service);
}
