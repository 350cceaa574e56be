/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "serve/server.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "util/cleanup.h"
#include "util/log.h"
#include "util/text.h"

#define CONNECTIONS_MAX 64
#define CONNECTION_SECONDS 10

struct server {
	struct MHD_Daemon *daemon;
	struct server_edge edge;
	uv_poll_t poll;   /* the daemon's epoll, which is readable when one of its sockets wants something */
	uv_timer_t timer; /* its time-outs */
	int handles;      /* uv handles that are not closed yet */
};

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned int status, const char *type, char *text, size_t size)
{
	struct MHD_Response *response = MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE);
	enum MHD_Result r;

	if (!response) {
		free(text);
		return MHD_NO;
	}
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
	if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
	r = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return r;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned int status, const char *text)
{
	char *line = text_printf("%s\n", text);

	return line ? answer(connection, status, "text/plain; charset=utf-8", line, strlen(line)) : MHD_NO;
}

static enum MHD_Result answer_metrics(struct server *server, struct MHD_Connection *connection)
{
	_cleanup_free_ char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);
	int r;

	if (!out)
		return MHD_NO;
	r = server->edge.metrics(server->edge.arg, out);
	if (fclose(out) != 0)
		r = -ENOMEM;
	if (r < 0)
		return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, strerror(-r));
	return answer(connection, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", TAKE_PTR(text), size);
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url, const char *method, const char *version,
				  const char *body, size_t *body_size, void **state)
{
	static int seen;
	struct server *server = arg;
	const char *unready;

	(void)version;
	(void)body;
	if (!*state) { /* the head; libmicrohttpd calls again when the request is whole */
		*state = &seen;
		return MHD_YES;
	}
	if (*body_size) {
		*body_size = 0;
		return MHD_YES;
	}
	if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
		return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD");
	if (strcmp(url, "/metrics") == 0)
		return answer_metrics(server, connection);
	if (strcmp(url, "/healthz") == 0)
		return answer_text(connection, MHD_HTTP_OK, "ok");
	if (strcmp(url, "/readyz") == 0) {
		unready = server->edge.unready(server->edge.arg);
		return answer_text(connection, unready ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK, unready ?: "ok");
	}
	return answer_text(connection, MHD_HTTP_NOT_FOUND, "there are /metrics, /healthz and /readyz");
}

/* ---- on the loop ---- */

static void on_time(uv_timer_t *timer);

static void work(struct server *server)
{
	MHD_UNSIGNED_LONG_LONG ms;

	MHD_run(server->daemon);
	if (MHD_get_timeout(server->daemon, &ms) == MHD_YES)
		uv_timer_start(&server->timer, on_time, ms, 0);
	else
		uv_timer_stop(&server->timer);
}

static void on_time(uv_timer_t *timer)
{
	work(timer->data);
}

static void on_ready(uv_poll_t *poll, int status, int events)
{
	(void)status;
	(void)events;
	work(poll->data);
}

/* ---- the socket ---- */

/* host:port, [host]:port or :port. */
static int resolve(const char *listen_on, struct addrinfo **ret_address)
{
	const struct addrinfo hints = { .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(listen_on, ':');
	_cleanup_free_ char *host = colon ? strndup(listen_on, (size_t)(colon - listen_on)) : NULL;
	char *name = host;
	size_t length = host ? strlen(host) : 0;

	if (!colon || !colon[1])
		return -EINVAL;
	if (!host)
		return -ENOMEM;
	if (length > 2 && host[0] == '[' && host[length - 1] == ']') {
		host[length - 1] = '\0';
		name = host + 1;
	}
	return getaddrinfo(*name ? name : "::", colon + 1, &hints, ret_address) ? -EINVAL : 0;
}

static int open_socket(const char *listen_on)
{
	struct addrinfo *address = NULL;
	int fd, on = 1, off = 0, r = resolve(listen_on, &address);

	if (r < 0)
		return log_err(0, "--listen takes an address and a port, such as 127.0.0.1:9642 or [::1]:9642; found \"%s\"", listen_on), r;
	fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (address->ai_family == AF_INET6) /* ":port" is of both families */
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	}
	if (fd < 0 || bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, 16)) {
		r = log_err(-errno, "cannot listen on %s (--listen)", listen_on);
		if (fd >= 0)
			close(fd);
		fd = r;
	}
	freeaddrinfo(address);
	return fd;
}

/* ---- lifetime ---- */

static void on_closed(uv_handle_t *handle)
{
	struct server *server = handle->data;

	if (--server->handles == 0)
		free(server);
}

void server_free(struct server **server)
{
	struct server *s = TAKE_PTR(*server);

	if (!s)
		return;
	uv_poll_stop(&s->poll);
	MHD_stop_daemon(s->daemon); /* closes the socket, too */
	uv_close((uv_handle_t *)&s->poll, on_closed);
	uv_close((uv_handle_t *)&s->timer, on_closed);
}

int server_new(uv_loop_t *loop, const char *listen_on, const struct server_edge *edge, struct server **ret_server)
{
	struct server *server = calloc(1, sizeof(*server));
	const union MHD_DaemonInfo *info;
	int fd;

	if (!server)
		return -ENOMEM;
	server->edge = *edge;
	fd = open_socket(listen_on);
	if (fd < 0) {
		free(server);
		return fd;
	}
	server->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
					  CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT, CONNECTION_SECONDS, MHD_OPTION_END);
	if (!server->daemon) {
		close(fd);
		free(server);
		return log_err(-ENOMEM, "cannot start the server of --listen %s", listen_on);
	}
	info = MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	uv_timer_init(loop, &server->timer);
	uv_poll_init(loop, &server->poll, info->epoll_fd);
	server->timer.data = server->poll.data = server;
	server->handles = 2;
	uv_poll_start(&server->poll, UV_READABLE, on_ready);
	*ret_server = server;
	return 0;
}
