/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Base64 with padding (RFC 4648 section 4), as the `data` of a Kubernetes Secret has it. */
#ifndef SHUNT_BASE64_H
#define SHUNT_BASE64_H

#include <stddef.h>

/* Decodes a text; line breaks in it are skipped. 0 and what it holds, with a NUL behind it, the caller's to free; -EINVAL: it is no base64; -ENOMEM. */
int base64_decode(const char *text, char **ret_data, size_t *ret_size);

#endif
