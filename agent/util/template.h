/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The two template languages that Iter8's manifests use.
 *
 *     task arguments    kubectl apply -f {{ .promote }}          Go templates, of which tasks use the field look-up
 *     run: scripts      echo @< .Spec.Target >@                  the same on the Experiment as Iter8's Go program sees it
 *     metric queries    ...{ns='$ns'}[${elapsedTime}s]           Python's string.Template, safe_substitute
 *
 * Both put plain text in. (Iter8's handler used html/template, which turned the & of a promote URL into &amp;: reference/iter8.md section 3.3, T10.)
 */
#ifndef SHUNT_TEMPLATE_H
#define SHUNT_TEMPLATE_H

#include <jansson.h>

/*
 * Expands {{ .name }} and {{ .this.metadata.name }} from a JSON object. A key that is not there gives nothing; a number or boolean gives its text.
 * Anything else between the braces (range, if, pipes, functions), an object where text is needed, and braces without an end are errors.
 * Returns 0 and *ret_text, or -EINVAL and *ret_problem, a sentence; both are the caller's to free.
 */
int template_expand(const char *text, const json_t *context, char **ret_text, char **ret_problem);

/*
 * The same between @< and >@, on an Experiment: .Spec.Target, .Name, .Status.VersionRecommendedForPromotion, also as YAML spells them (.spec.target); and
 * .Secret "key" from the secret (NULL: there is none), whose missing keys are errors.
 */
int template_expand_run(const char *text, const json_t *experiment, const json_t *secret, char **ret_text, char **ret_problem);

/*
 * Whether the two above would understand a text, without values: 0, or -EINVAL and *ret_problem. see (NULL: nobody) is called for each field of it, with its
 * path without the first dot, "this.metadata.name"; `Secret` stands for .Secret "key".
 */
typedef void (*template_see_fn)(void *arg, const char *path, size_t length);
int template_check(const char *text, template_see_fn see, void *arg, char **ret_problem);
int template_check_run(const char *text, template_see_fn see, void *arg, char **ret_problem);

/*
 * A member as Go or YAML spells it: the key itself, else with a small first letter; of an object with `metadata` also what Go embeds from there (Name,
 * Namespace, Labels, Annotations, ObjectMeta). NULL: there is none. Borrowed.
 */
const json_t *template_member(const json_t *object, const char *name, size_t length);

/*
 * Expands $name, ${name} and $$ (a dollar) from an object of strings. A name that is not there, and a $ that starts nothing, stay as they are
 * (docs.python.org/3/library/string.html#template-strings). Returns the text, NULL when there is no memory.
 */
char *template_substitute(const char *text, const json_t *values);

#endif
