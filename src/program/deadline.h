/* The time that a job may take in all, and that its end may. */
#ifndef LB_PROGRAM_DEADLINE_H
#define LB_PROGRAM_DEADLINE_H

#include <stdbool.h>

/* When the time is over: writes the message to standard error and calls stop_run, on a thread of its own. When that says that there
 * is no run to stop, and when the process has not ended a while after it, ends the process with status 1. Whatever runs, Lua or C,
 * and whatever it catches. Call once. 0, or an errno. */
int lb_deadline_start(double seconds, const char *message, bool (*stop_run)(void));
/* The user was told so, or is about to be. */
bool lb_deadline_is_over(void);
/* Ends the process with the status when it has not ended by itself in that time: what it still has to write may have no reader, and a
 * thread that never returns may hold the lock of a stream. Temporaries of outputs are removed. */
void lb_deadline_last(double seconds, int status);

#endif
