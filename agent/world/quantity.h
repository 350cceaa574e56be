/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Kubernetes quantities (k8s.io/apimachinery/pkg/api/resource): "0.01", "10m", "5k", "1Ki", "1e3". */
#ifndef SHUNT_QUANTITY_H
#define SHUNT_QUANTITY_H

/*
 * The number that a quantity means, the nearest double. Returns 0; -EINVAL when the text is no quantity (also NaN and Inf, which Kubernetes has no
 * spelling for); -ERANGE when no double holds it. *ret_value is set on 0 only.
 */
int quantity_parse(const char *text, double *ret_value);

#endif
