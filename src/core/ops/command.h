/* Shell commands between two pipes, as jobs of their own, and the guard that ends them when this process cannot. */
#ifndef LB_OPS_COMMAND_H
#define LB_OPS_COMMAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/base/error.h"

/* A process that waits for this one's end. Commands of any thread may use it at the same time. */
struct lb_guard {
    pid_t pid;
    int fd; /* it hears here of commands, and of the end */
};

/* One command. Belongs to a thread. Zeroed: none. */
struct lb_command {
    pid_t pid;        /* of the shell, and of the group of all it starts; 0: none runs */
    uint64_t told_ns; /* when it was told to end; 0: it was not */
    const struct lb_guard *guard;
};

/* 0 or an errno value. */
int lb_guard_start(struct lb_guard *guard);
/* When all commands have ended. */
void lb_guard_end(struct lb_guard *guard);

/* Starts "sh -c text" with these as its standard input and output; 0 or an errno value. The guard must outlive it. */
int lb_command_start(struct lb_command *command, const struct lb_guard *guard, char *text, int in,
                     int out);
/* To be called every now and then while the command is waited for: gives it the terminal if it wants that. LB_ERR_USER, without
 * a name, when it cannot have it and would wait for ever. */
lb_status lb_command_attend(struct lb_command *command, struct lb_error *err) LB_MUST_USE;
/* Whether it has ended, and is no more. Then *status is that of wait(), or -1 when somebody else has asked for it (SIGCHLD is
 * ignored), and *is_interrupted whether Ctrl-C did it that went to it alone; this process's group has been sent that, too. */
bool lb_command_has_ended(struct lb_command *command, int *status, bool *is_interrupted);
/* Tells it to end, if it runs. */
void lb_command_tell(struct lb_command *command);
/* Waits until it and all it has started have ended, which are killed some time after they were told to; for what another user's
 * process of it may not be told, no longer than that time. */
void lb_command_end(struct lb_command *command);

#endif
