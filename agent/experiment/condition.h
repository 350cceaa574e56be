/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The conditions of tasks (`if:`), a part of the language that Iter8 takes (antonmedv/expr on the Experiment):
 *
 *     CandidateWon()        WinnerFound() and not CandidateWon()        Status.CompletedIterations >= 10 or Status.Stage == "Finishing"
 *
 * or ||, and &&, not !, == != < <= > >=, parentheses, true, false, numbers, 'text' or "text", the two functions, and fields of the Experiment as Go or
 * YAML spells them. Pure.
 */
#ifndef SHUNT_CONDITION_H
#define SHUNT_CONDITION_H

#include <stdbool.h>

#include <jansson.h>

/*
 * Whether it holds for an experiment: the whole document with its status. NULL: only whether it is a condition at all, of fields that an Experiment has
 * (fields.h). A field that is not there is null, which equals nothing but itself. 0; -EINVAL and *ret_problem, a sentence; -ENOMEM.
 */
int condition_holds(const char *text, const json_t *experiment, bool *ret_holds, char **ret_problem);

#endif
