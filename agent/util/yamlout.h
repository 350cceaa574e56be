/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* JSON trees as YAML text, for files that people read. world/yaml.h reads it back to the same tree. */
#ifndef SHUNT_YAMLOUT_H
#define SHUNT_YAMLOUT_H

#include <stdio.h>

#include <jansson.h>

/*
 * Writes one document, keys in alphabetical order (as the Kubernetes API server prints). Strings that some YAML reader could take for a number, a
 * boolean, null or a date are quoted. -ENOMEM, -EIO.
 */
int yamlout_write(FILE *file, const json_t *json);

#endif
