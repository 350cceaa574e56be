/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The matches of one route as the kernel looks at them.
 *
 *     match 0  path /static            ─▶ entry, order 0       a request: the trie says "order 1" for its user, so entries before that are
 *     match 1  user begins with 101    ─▶ rule,  order 1       tried first; none takes it, so it is match 1
 *     match 2  method POST, x-beta: 1  ─▶ entry, order 2
 *     match 3  everything              ─▶ the route's own split
 *
 * The first match that a request fulfils counts; the trie gives the longest prefix. Both agree once the rules that are never reached are gone: a rule is
 * unreachable when an earlier one's prefix covers it, and of two rules that are left and name one user the longer comes first.
 */
#include "plan/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "util/cleanup.h"

/* A route in the making. */
struct builder {
	struct planner *planner;
	struct tables *t;
	struct shunt_route *route;
	uint16_t index;
	size_t first_rule;
	size_t first_condition;
	const char **ret_full;
};

static struct place place_of_match(const struct body_match *match)
{
	const struct route_words *words = words_of(match->body->vs);
	int line = match->body->vs->http_count ? match->body->vs->http[match->item].line : match->body->vs->tcp[match->item].line;

	if (match->match == SHUNT_NONE)
		return place_of_route(match->body->vs, line, "%s[%u]", words->items, match->item);
	return place_of_route(match->body->vs, line, "%s[%u].%s[%u]", words->items, match->item, words->match, match->match);
}

/* ---- precedence ---- */

struct rank {
	int path;    /* 2: exact, 1: a prefix */
	int length;  /* of the prefix */
	int method, headers, params;
};

static struct rank rank_of(const struct body_match *match)
{
	struct rank rank = {};

	for (size_t i = 0; i < match->condition_count; i++) {
		const struct shunt_condition *c = &match->conditions[i];

		if (c->subject == SHUNT_ON_PATH) {
			rank.path = c->how == SHUNT_IS_EQUAL ? 2 : 1;
			rank.length = rank.path == 1 ? c->len : 0;
		}
		rank.method += c->subject == SHUNT_ON_METHOD;
		rank.headers += c->subject == SHUNT_ON_HEADER;
		rank.params += c->subject == SHUNT_ON_QUERY;
	}
	return rank;
}

int match_precedence(const struct body_match *a, const struct body_match *b)
{
	struct rank x = rank_of(a), y = rank_of(b);
	const int differences[] = { y.path - x.path, y.length - x.length, y.method - x.method, y.headers - x.headers, y.params - x.params };

	for (size_t i = 0; i < ARRAY_SIZE(differences); i++)
		if (differences[i])
			return differences[i];
	return 0;
}

/* ---- rules ---- */

static struct tables_rule rule_of(const struct body_match *match, uint16_t route, uint16_t order)
{
	const struct shunt_condition *condition = match->conditions;
	struct tables_rule rule = {
		.route = route,
		.length = condition->len + (condition->how == SHUNT_IS_EQUAL), /* its terminating 0 */
		.value = { .split = match->split, .order = order, .item = match->item, .match = match->match },
	};

	memcpy(rule.id, condition->value, condition->len);
	return rule;
}

static bool rule_covers(const struct tables_rule *rule, const struct tables_rule *other)
{
	return other->length >= rule->length && memcmp(rule->id, other->id, rule->length) == 0;
}

/* Has an earlier rule all of its users? Says so, unless both are of one item. */
static bool rule_is_covered(const struct builder *b, const struct body_match *match, const struct tables_rule *rule)
{
	for (size_t i = b->first_rule; i < b->t->rule_count; i++) {
		const struct tables_rule *earlier = &b->t->rules[i];
		struct place place = place_of_match(match);

		if (!rule_covers(earlier, rule))
			continue;
		if (earlier->value.item != rule->value.item)
			note(b->planner, NOTE_WARNING, &place, "unreachable: '%s' lies within '%s' of %s[%u], which comes first; %s",
			     (const char *)rule->id, (const char *)earlier->id, words_of(match->body->vs)->items, earlier->value.item,
			     earlier->length == rule->length ? "remove one of them" : "put the longer one first");
		return true;
	}
	return false;
}

static int add_rule(struct builder *b, const struct body_match *match, uint16_t order)
{
	struct tables_rule rule = rule_of(match, b->index, order), *added;

	if (rule_is_covered(b, match, &rule))
		return 0;
	added = TABLE_APPEND(b->planner, b->t->rules, b->t->rule_count, SHUNT_RULES, "rules", b->ret_full);
	if (!added)
		return -ENOSPC;
	*added = rule;
	b->route->rules++;
	return 0;
}

/* ---- entries ---- */

static bool same_name(const struct shunt_condition *a, const struct shunt_condition *b)
{
	return a->subject == b->subject && memcmp(a->name, b->name, sizeof(a->name)) == 0;
}

static bool is_identity(const struct shunt_route *route, const struct shunt_condition *condition)
{
	return route->identity == (condition->subject == SHUNT_ON_HEADER ? SHUNT_ID_HEADER : SHUNT_ID_QUERY) &&
	       memcmp(route->name, condition->name, sizeof(route->name)) == 0;
}

/* The slot of the condition's name, a new one when no earlier condition of the route has it; -ENOSPC. */
static int slot_of(const struct builder *b, const struct shunt_condition *condition)
{
	int last = SHUNT_SLOT_ID;

	if (is_identity(b->route, condition))
		return SHUNT_SLOT_ID;
	for (size_t i = b->first_condition; i < b->t->condition_count; i++) {
		const struct shunt_condition *earlier = &b->t->conditions[i];

		if (same_name(earlier, condition) && earlier != condition)
			return earlier->slot;
		last = earlier->slot > last ? earlier->slot : last;
	}
	if (last + 1 < SHUNT_NAMES_PER_ROUTE)
		return last + 1;
	*b->ret_full = "another header or parameter that the matches of one route look at";
	return -ENOSPC;
}

static int add_condition(struct builder *b, const struct shunt_condition *condition)
{
	int slot = condition->subject >= SHUNT_ON_HEADER ? slot_of(b, condition) : 0;
	struct shunt_condition *added =
		slot < 0 ? NULL : TABLE_APPEND(b->planner, b->t->conditions, b->t->condition_count, SHUNT_CONDITIONS, "conditions", b->ret_full);

	if (!added)
		return -ENOSPC;
	*added = *condition;
	added->slot = slot;
	return 0;
}

static int add_entry(struct builder *b, const struct body_match *match, uint16_t order)
{
	struct shunt_entry *entry;

	if (b->route->entries == SHUNT_ENTRIES_PER_ROUTE) {
		*b->ret_full = "another entry of one route";
		return -ENOSPC;
	}
	entry = TABLE_APPEND(b->planner, b->t->entries, b->t->entry_count, SHUNT_ENTRIES, "entries", b->ret_full);
	if (!entry)
		return -ENOSPC;
	b->route->entries++;
	*entry = (struct shunt_entry){
		.split = match->split,
		.order = order,
		.item = match->item,
		.match = match->match,
		.condition = b->t->condition_count,
		.conditions = match->condition_count,
	};
	for (size_t i = 0; i < match->condition_count; i++)
		if (add_condition(b, &match->conditions[i]) < 0)
			return -ENOSPC;
	return 0;
}

/* ---- the route ---- */

int entries_add(struct planner *planner, const struct body_match *const *matches, size_t count, uint16_t index, const char **ret_full)
{
	struct tables *t = planner->tables;
	struct builder b = {
		.planner = planner,
		.t = t,
		.route = &t->routes[index],
		.index = index,
		.first_rule = t->rule_count,
		.first_condition = t->condition_count,
		.ret_full = ret_full,
	};

	b.route->entry = t->entry_count;
	for (size_t i = 0; i < count; i++) {
		const struct body_match *match = matches[i];
		int r;

		if (match->condition_count == 0) {
			b.route->split = match->split;
			b.route->item = match->item;
			break;
		}
		r = match->is_rule ? add_rule(&b, match, i) : add_entry(&b, match, i);
		if (r < 0)
			return planner->out_of_memory ? -ENOMEM : r;
	}
	return 0;
}
