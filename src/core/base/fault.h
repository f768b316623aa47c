/* Faults on demand, for tests of what follows a failure; debug and sanitised builds only.
 *
 * LUABATCH_FAULT in the environment says which calls fail; a comma separates several.
 *   alloc:17          the 17th allocation of the core, once
 *   lua:1700+         the 1700th of Lua, here or in a worker, and all after it
 *   lua:1700-1701     two of them: after one Lua collects garbage and tries again
 *   open:2=EMFILE     with this error; else ENOMEM for memory, EAGAIN for threads, EIO for the rest
 *   read:3=EINTR      beneath the layer that repeats interrupted calls
 *   write:2=short     transfers half of what was asked: read, pread, write and pwrite
 *   flip:4            damages a bit of what the fourth read or pread gets
 *   frame_flip:4      writes the fourth frame of spill files with a bit turned over;
 *   frame_cut:4       cuts the file within that frame;
 *   frame_foreign:4   writes it as a good frame of another place
 *   library:7         the seventh allocation of a library: zlib, libzstd, ... and libc itself
 *   fork:1            no janitor is started (io/output_temp.h)
 *   kill:9            SIGKILL just before the ninth call of the system, of any kind: memory and threads
 *                     are none, moments that matter between two calls are (LB_FAULT_MOMENT)
 *   count, count=FILE at exit, how many calls of each kind there were, and how many failed:
 *                     "alloc 1234 open 7 ... failed 1", to standard error or a file
 *
 * Calls are counted over all threads: those of lb_sys (fault.c names the kinds), fopen by Lua (as
 * open), starts of threads, Lua's allocations (large blocks of a worker count as both kinds). What
 * fails for ever does so while cleaning up, too. */
#ifndef LB_BASE_FAULT_H
#define LB_BASE_FAULT_H

#include <stdbool.h>
#include <stddef.h>

/* ORDER fault kinds */
enum lb_fault_kind {
    LB_FAULT_ALLOC,
    LB_FAULT_LUA,
    LB_FAULT_OPEN,
    LB_FAULT_CLOSE,
    LB_FAULT_READ,
    LB_FAULT_PREAD,
    LB_FAULT_FLIP,
    LB_FAULT_WRITE,
    LB_FAULT_PWRITE,
    LB_FAULT_STAT,
    LB_FAULT_FSYNC,
    LB_FAULT_FTRUNCATE,
    LB_FAULT_RENAME,
    LB_FAULT_LINK,
    LB_FAULT_UNLINK,
    LB_FAULT_MKDIR,
    LB_FAULT_RMDIR,
    LB_FAULT_THREAD,
    LB_FAULT_LIBRARY,
    LB_FAULT_FORK,
    LB_FAULT_KILL,
    LB_FAULT_FRAME_FLIP,
    LB_FAULT_FRAME_CUT,
    LB_FAULT_FRAME_FOREIGN,
    LB_FAULT_KINDS
};

#ifdef LB_DEBUG
/* Counts a call. True: it is to fail, errno is set. `size` (NULL allowed) is what is to be
 * transferred; a short call makes it smaller. */
#define LB_FAULT(kind, size) lb_fault(LB_FAULT_##kind, size)
bool lb_fault(enum lb_fault_kind kind, size_t *size);
/* For what changes files without lb_sys: the process may be killed here. */
#define LB_FAULT_MOMENT() ((void)lb_fault(LB_FAULT_KILL, NULL))
/* Finds out where the libraries are, so that their allocations count from now on (fault_library.c). */
void lb_fault_find_libraries(void);
/* Arms anew, as the environment would, and counts from 1. False: `text` is not understood. For one
 * thread, while no other runs. */
bool lb_fault_arm(const char *text);
/* How many calls failed, came short or were damaged since. */
long lb_fault_n_failed(void);
long lb_fault_n_calls(enum lb_fault_kind kind);
const char *lb_fault_name(enum lb_fault_kind kind);
#else
#define LB_FAULT(kind, size) ((void)(size), false)
#define LB_FAULT_MOMENT() ((void)0)
#endif

#endif
