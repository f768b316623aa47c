/* The time that a job may take in all, and that its end may. */
#ifndef LB_PROGRAM_DEADLINE_H
#define LB_PROGRAM_DEADLINE_H

#include <signal.h>

/* When the time is over: writes the message to standard error and stops the engine's run as SIGTERM would; outside a run (*is_busy is 0), and
 * when that has not ended the process after a while, ends the process with status 1. Whatever runs, Lua or C, and whatever it catches.
 * Call once, from the main thread. 0, or an errno. */
int lb_deadline_start(double seconds, const char *message, const volatile sig_atomic_t *is_busy);
/* Ends the process with the status when it has not ended by itself in that time: what it still has to write may have no reader, and a
 * thread that never returns may hold the lock of a stream. Temporaries of outputs are removed. */
void lb_deadline_last(double seconds, int status);

#endif
