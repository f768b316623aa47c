/* The kernel's part of safe mode: see jail.h. */
#ifndef LB_BASE_CONFINE_H
#define LB_BASE_CONFINE_H

#include "core/base/error.h"

/* Takes from this thread, and those that it will start, what no job needs: by Landlock all files but those of the jail's list, by seccomp other
 * programs, the network and other processes. Where the kernel has no such thing it does nothing. Not for sanitised builds: their
 * reports need what is taken. */
lb_status lb_confine(struct lb_error *err) LB_MUST_USE;
/* What of it is there: "landlock, seccomp", "landlock", "seccomp" or "". */
const char *lb_confine_means(void);

#endif
