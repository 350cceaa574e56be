/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* shunt: steers every user of a service to one version inside the kernel, and decides by experiment which version stays. One file per command. */
#include <gsl/gsl_errno.h>

#include "cmd.h"
#include "util/cleanup.h"

/* In the order in which --help lists them; the first one runs when none is named. */
static const struct cmd *const commands[] = {
	&cmd_status,
	&cmd_run,
	&cmd_describe,
	&cmd_explain,
	&cmd_events,
	&cmd_simulate,
	&cmd_power,
	&cmd_metric,
	&cmd_unload,
	&cmd_version,
};

int main(int argc, char **argv)
{
	gsl_set_error_handler_off(); /* it would abort; what a special function cannot say is no number, and no number decides nothing */
	return cmd_main(commands, ARRAY_SIZE(commands), argc, argv);
}
