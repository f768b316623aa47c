/* The wall of safe mode: which files this process may still touch.
 *
 * CALLS   (allow)*, close. Once closed it stays so until the process ends, for all threads: nothing can be allowed any more.
 * IDEA    Every file call of the core goes through lb_sys, so there is one place to ask: closing puts checking functions into that
 *         table. They judge the file that a path really leads to, not the path: symbolic links lead nowhere else.
 *         Behind it the kernel is asked to hold the same line where it can (confine.h), should this one have a hole.
 * REFUSED Anything but regular files, directories and /dev/null (devices, FIFOs, sockets), and any path outside, whether it exists or not: errno is
 *         EACCES, also where a path only goes through such and leads in again (jail.c, WAYS), to which lb_error_system adds where the limit comes from. */
#ifndef LB_BASE_JAIL_H
#define LB_BASE_JAIL_H

#include <stdbool.h>
#include <stddef.h>

#include "core/base/error.h"

enum lb_jail_right {
    LB_JAIL_READ, /* the file, or the directory and all below it */
    LB_JAIL_LIST, /* the names in this directory */
    LB_JAIL_WRITE, /* the file or directory (made if need be), all below it, and the hidden temporaries beside it */
    LB_JAIL_TMP /* nameless files in this directory */
};

/* A path that does not exist is taken as a name in its directory; where that does not exist either nothing is allowed. */
lb_status lb_jail_allow(enum lb_jail_right right, const char *path,
                        struct lb_error *err) LB_MUST_USE;
/* From now on. Before other threads are started: the kernel's part counts for this one and those it starts. */
lb_status lb_jail_close(struct lb_error *err) LB_MUST_USE;
bool lb_jail_is_closed(void);

/* The list, for confine.c: calls visit for every path allowed. */
void lb_jail_visit(void (*visit)(void *state, enum lb_jail_right right, const char *path),
                   void *state);

#endif
