/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
#include "experiment/condition.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "experiment/fields.h"
#include "util/cleanup.h"
#include "util/template.h"
#include "util/text.h"

#define DEPTH_MAX 32

struct parser {
	const char *text, *at;
	const json_t *experiment; /* NULL: values do not matter */
	char *problem;
	int depth;
};

/* A new reference, or NULL: parser->problem says why. */
static json_t *parse_or(struct parser *p);

static json_t *fail(struct parser *p, const char *what)
{
	if (!p->problem)
		p->problem = text_printf("%s at \"%s\" of \"%s\"; allowed: WinnerFound(), CandidateWon(), fields such as Status.Stage, text, numbers, and, or, not, comparisons, parentheses",
					 what, p->at, p->text);
	return NULL;
}

/* ---- words ---- */

static void skip_space(struct parser *p)
{
	p->at += strspn(p->at, " \t\r\n");
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Takes a symbol or a whole word. */
static bool take(struct parser *p, const char *token)
{
	size_t n = strlen(token);

	skip_space(p);
	if (strncmp(p->at, token, n) != 0 || (is_word(token[0]) && is_word(p->at[n])))
		return false;
	p->at += n;
	return true;
}

/* ---- the experiment ---- */

static const json_t *winner_data(const json_t *experiment)
{
	const json_t *analysis = json_object_get(json_object_get(experiment, "status"), "analysis");

	return json_object_get(json_object_get(analysis, "winnerAssessment"), "data");
}

static bool winner_found(const json_t *experiment)
{
	return json_is_true(json_object_get(winner_data(experiment), "winnerFound"));
}

/* Exactly one candidate, and it is the winner. */
static bool candidate_won(const json_t *experiment)
{
	const json_t *info = json_object_get(json_object_get(experiment, "spec"), "versionInfo"), *candidates = json_object_get(info, "candidates");
	const char *winner = json_string_value(json_object_get(winner_data(experiment), "winner"));
	const char *candidate = json_string_value(json_object_get(json_array_get(candidates, 0), "name"));

	return winner_found(experiment) && json_array_size(candidates) == 1 && winner && candidate && strcmp(winner, candidate) == 0;
}

/* ---- values ---- */

static json_t *parse_text(struct parser *p)
{
	const char *end = strchr(p->at + 1, *p->at);
	json_t *text;

	if (!end)
		return fail(p, "text without an end");
	text = json_stringn(p->at + 1, (size_t)(end - p->at - 1));
	p->at = end + 1;
	return text;
}

static json_t *parse_number(struct parser *p)
{
	char *end;
	double number = strtod(p->at, &end);

	p->at = end;
	return json_real(number);
}

/* What stands for a field while values do not matter: something of its type; null where that may be any. */
static json_t *any_value(struct parser *p, const char *path)
{
	size_t length = (size_t)(p->at - path);
	_cleanup_free_ char *advice = NULL;
	json_type type;

	if (!field_known(path, length, &type)) {
		advice = field_advice(path, length);
		p->problem = text_printf("an Experiment has no field %.*s; %s", (int)length, path, advice ?: "");
		return NULL;
	}
	switch (type) {
	case JSON_STRING:
		return json_string("");
	case JSON_INTEGER:
		return json_integer(0);
	case JSON_OBJECT:
		return json_object();
	case JSON_ARRAY:
		return json_array();
	default:
		return json_null();
	}
}

/* A function, or a path of fields. */
static json_t *parse_name(struct parser *p)
{
	const json_t *value = p->experiment;
	const char *name = p->at;
	size_t n = 0;

	while (is_word(name[n]))
		n++;
	if (name[n] == '(') {
		p->at += n;
		if (n == strlen("WinnerFound") && strncmp(name, "WinnerFound", n) == 0 && take(p, "(") && take(p, ")"))
			return json_boolean(winner_found(p->experiment));
		if (n == strlen("CandidateWon") && strncmp(name, "CandidateWon", n) == 0 && take(p, "(") && take(p, ")"))
			return json_boolean(candidate_won(p->experiment));
		p->at = name;
		return fail(p, "an unknown function");
	}
	for (;;) {
		value = template_member(value, p->at, n);
		p->at += n;
		if (p->at[0] != '.' || !is_word(p->at[1]))
			break;
		p->at++;
		for (n = 0; is_word(p->at[n]);)
			n++;
	}
	if (!p->experiment)
		return any_value(p, name);
	return value ? json_incref((json_t *)value) : json_null();
}

static json_t *parse_value(struct parser *p)
{
	json_t *value;

	skip_space(p);
	if (take(p, "(")) {
		value = parse_or(p);
		if (value && !take(p, ")")) {
			json_decref(value);
			return fail(p, "no closing )");
		}
		return value;
	}
	if (take(p, "true"))
		return json_true();
	if (take(p, "false"))
		return json_false();
	if (*p->at == '"' || *p->at == '\'')
		return parse_text(p);
	if (isdigit((unsigned char)*p->at) || (*p->at == '-' && isdigit((unsigned char)p->at[1])))
		return parse_number(p);
	if (isalpha((unsigned char)*p->at))
		return parse_name(p);
	return fail(p, *p->at ? "something unknown" : "an end too early");
}

/* ---- operators ---- */

static bool is_same(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return json_number_value(a) == json_number_value(b);
	return json_equal(a, b);
}

/* Numbers by size, text by its bytes. 0 also when they cannot be compared. */
static int order(const json_t *a, const json_t *b)
{
	if (json_is_number(a) && json_is_number(b))
		return (json_number_value(a) > json_number_value(b)) - (json_number_value(a) < json_number_value(b));
	return json_is_string(a) && json_is_string(b) ? strcmp(json_string_value(a), json_string_value(b)) : 0;
}

static bool compare(const char *operator, const json_t *a, const json_t *b)
{
	if (operator[0] == '=' || operator[0] == '!')
		return is_same(a, b) == (operator[0] == '=');
	if (json_typeof(a) != json_typeof(b) && !(json_is_number(a) && json_is_number(b)))
		return false;
	if (operator[0] == '<')
		return operator[1] ? order(a, b) <= 0 : order(a, b) < 0;
	return operator[1] ? order(a, b) >= 0 : order(a, b) > 0;
}

static json_t *parse_comparison(struct parser *p)
{
	static const char *const operators[] = { "==", "!=", "<=", ">=", "<", ">" };
	_cleanup_json_ json_t *left = parse_value(p), *right = NULL;

	for (size_t i = 0; left && i < ARRAY_SIZE(operators); i++) {
		if (!take(p, operators[i]))
			continue;
		right = parse_value(p);
		return right ? json_boolean(compare(operators[i], left, right)) : NULL;
	}
	return TAKE_PTR(left);
}

/* Its truth goes to *ret. With values that do not matter every field may be one. */
static bool is_boolean(struct parser *p, const json_t *value, bool *ret)
{
	*ret = json_is_true(value);
	if (json_is_boolean(value) || (!p->experiment && json_is_null(value)))
		return true;
	fail(p, "a value that is neither true nor false");
	return false;
}

static json_t *parse_not(struct parser *p)
{
	_cleanup_json_ json_t *value = NULL;
	json_t *result = NULL;
	bool negated, truth;

	skip_space(p);
	negated = take(p, "not") || (p->at[0] == '!' && p->at[1] != '=' && take(p, "!"));
	if (++p->depth > DEPTH_MAX)
		return fail(p, "too many levels");
	value = negated ? parse_not(p) : parse_comparison(p);
	p->depth--;
	if (!negated)
		return TAKE_PTR(value);
	if (value && is_boolean(p, value, &truth))
		result = json_boolean(!truth);
	return result;
}

/* A chain of one operator. Both sides are looked at, so that a mistake on either is found. */
static json_t *parse_chain(struct parser *p, json_t *(*parse_side)(struct parser *), const char *word, const char *symbol, bool any)
{
	json_t *left = parse_side(p);

	while (left && (take(p, word) || take(p, symbol))) {
		_cleanup_json_ json_t *first = TAKE_PTR(left), *second = parse_side(p);
		bool a, b;

		if (second && is_boolean(p, first, &a) && is_boolean(p, second, &b))
			left = json_boolean(any ? a || b : a && b);
	}
	return left;
}

static json_t *parse_and(struct parser *p)
{
	return parse_chain(p, parse_not, "and", "&&", false);
}

static json_t *parse_or(struct parser *p)
{
	return parse_chain(p, parse_and, "or", "||", true);
}

int condition_holds(const char *text, const json_t *experiment, bool *ret_holds, char **ret_problem)
{
	struct parser parser = { .text = text, .at = text, .experiment = experiment };
	_cleanup_json_ json_t *value = parse_or(&parser);
	bool holds = false;

	skip_space(&parser);
	if (value && *parser.at)
		fail(&parser, "something after the condition's end");
	else if (value)
		is_boolean(&parser, value, &holds);
	if (!value && !parser.problem)
		return -ENOMEM;
	if (parser.problem) {
		*ret_problem = parser.problem;
		return -EINVAL;
	}
	*ret_holds = holds;
	return 0;
}
