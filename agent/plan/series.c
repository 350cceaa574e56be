/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "plan/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

int series_find(const struct shunt_series series[SHUNT_SERIES], const char *route, const char *version)
{
	for (int i = 0; i < SHUNT_SERIES; i++)
		if (series[i].version[0] && strcmp(series[i].route, route) == 0 && strcmp(series[i].version, version) == 0)
			return i;
	return -1;
}

int series_get(struct shunt_series series[SHUNT_SERIES], const char *route, const char *version)
{
	int found = series_find(series, route, version);

	if (found >= 0)
		return found;
	for (int i = 0; i < SHUNT_SERIES; i++) {
		if (series[i].version[0])
			continue;
		snprintf(series[i].route, sizeof(series[i].route), "%s", route);
		snprintf(series[i].version, sizeof(series[i].version), "%s", version);
		return i;
	}
	return -ENOSPC;
}
