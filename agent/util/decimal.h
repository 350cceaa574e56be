/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Exact decimals: Kubernetes quantities (apimachinery resource.Quantity), the form in which a status holds numbers: "315180m" is 315.18.
 * A double would turn 90.847 into 90.846999; billionths in 128 bits do not. The finest unit is the nano; what is finer is rounded away from zero, as
 * Kubernetes does. (Limits in a manifest are doubles: world/quantity.h.)
 */
#ifndef SHUNT_DECIMAL_H
#define SHUNT_DECIMAL_H

#define DECIMAL_TEXT_MAX 48

/* The canonical text of a finite number: an integer with the largest suffix of n, u, m, none, k, M, G, T, P, E that leaves it whole. Returns buf. */
const char *decimal_quantity(double value, char buf[DECIMAL_TEXT_MAX]);

/* Parses a quantity, with decimal (k), binary (Ki) or exponent (e3) suffix, into billionths. -EINVAL, -ERANGE beyond 10^27. */
int decimal_parse(const char *text, __int128 *ret_nano);

/* Three decimals, rounded towards plus infinity, as iter8ctl prints: 90846332047n is "90.847". Returns buf. */
const char *decimal_ceil3(__int128 nano, char buf[DECIMAL_TEXT_MAX]);

#endif
