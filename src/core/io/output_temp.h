/* Hidden temporaries beside a target, remembered so that a normal exit of the process removes those
 * that nobody removed or published. Directories have a janitor, a process that does nothing but wait for
 * its parent's end, and removes them when the parent could not (SIGKILL). What is left all the same, because all processes of a group
 * were killed at once, the next one that writes to the same
 * target removes: a living owner holds a lock (flock) on its temporary. Inside the room only. Thread-safe; one struct belongs
 * to one thread at a time. */
#ifndef LB_IO_OUTPUT_TEMP_H
#define LB_IO_OUTPUT_TEMP_H

#include <stdbool.h>
#include <sys/types.h>

#include "core/base/error.h"

struct lb_temp {
    char *path;        /* NULL: there is none */
    bool is_directory; /* removed with all it holds */
    pid_t owner;       /* a forked child must not remove its parent's */
    int lock_fd;       /* holds the lock while path is set */
    pid_t
        janitor; /* of a directory: the process that removes it when its owner is killed; 0: none */
    int janitor_fd;       /* the janitor works when this is closed */
    struct lb_temp *next; /* list of all, guarded by a lock in output_temp.c */
};

/* Makes an empty file ".NAME.luabatch-XXXXXX" beside target, NAME being the target's own, and opens
 * it for reading and writing. */
lb_status lb_temp_new_file(struct lb_temp *temp, const char *target, int *fd,
                           struct lb_error *err) LB_MUST_USE;
/* Gives the nameless file fd such a name. */
lb_status lb_temp_link(struct lb_temp *temp, const char *target, int fd,
                       struct lb_error *err) LB_MUST_USE;
/* Makes an empty directory of such a name. */
lb_status lb_temp_new_directory(struct lb_temp *temp, const char *target,
                                struct lb_error *err) LB_MUST_USE;
/* The temporary was renamed and is one no more. */
void lb_temp_forget(struct lb_temp *temp);
/* Removes it, whatever it is by now. */
void lb_temp_remove(struct lb_temp *temp);
/* Removes a file, or a directory with all it holds. */
void lb_temp_remove_path(const char *path, bool is_directory);

/* Removes all of this process, as its normal exit does. From any thread. */
void lb_temp_remove_all(void);
/* Until it is released another thread's remove_all waits, and the end of the process with it: for steps that are whole only together. No
 * other call of this header in between. */
void lb_temp_hold(void);
void lb_temp_release(void);

/* At the end of a temporary's name: the old directory, while the new one takes its place in three steps (lb_tree_exchange). */
#define LB_TEMP_ASIDE ".old"

/* Removes the temporaries of dead processes for this target, and gives an old directory its name again that they left without. */
void lb_temp_sweep(const char *target);

/* A nameless file in the directory (O_TMPFILE), or -1 where that cannot be had. */
int lb_temp_open_nameless(const char *directory);
/* Names the nameless file fd `path`; 0 or an errno value. Never replaces anything. */
int lb_temp_publish(int fd, const char *path);

#endif
