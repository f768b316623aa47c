/* What output.c (making and writing) and output_commit.c (parts, and how they appear) share. */
#ifndef LB_IO_OUTPUT_PRIVATE_H
#define LB_IO_OUTPUT_PRIVATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "core/base/hash.h"
#include "core/io/output.h"
#include "core/io/output_temp.h"
#include "core/io/output_tree.h"

enum kind { KIND_STREAM, KIND_FILE, KIND_DIRECTORY };

struct lb_output {
    /* configuration */
    enum kind kind;
    enum lb_output_mode mode;
    char *name;    /* as the user gave it, in one line, for messages */
    char *receipt; /* NULL: none is wanted */
    char *target;  /* where it goes: no slash at its end, links resolved */
    bool existed;  /* there was such a file or directory at new */
    mode_t access; /* its permissions, when existed */

    /* state */
    _Atomic uint64_t end_bytes;     /* of the current part, claims included */
    _Atomic uint64_t n_dirty_bytes; /* written since write-back was last asked for */
    struct lb_tree tree;            /* the parts of a directory */

    /* asked while a stream waits, or NULL */
    bool (*must_stop)(void *state);
    void *stop_state;

    /* a stream whose attempts may be repeated, else NULL */
    struct lb_delivery *delivery;
    struct lb_running_hash *hash; /* of the bytes written, those of earlier attempts included */

    /* resources */
    int fd; /* the current part, or -1 */
    bool owns_fd;
    bool opens_late; /* a named pipe: with its first bytes, or at commit */
    int old_fd;      /* mode append: the file that it goes behind, locked, or -1 */
    struct stat old;
    struct lb_temp temp; /* hidden file or directory */
};

/* Directory part of a path; NULL when out of memory. */
char *lb_output_parent(const char *path);
/* Mode append: LB_ERR_RESOURCE when the file has changed since it was opened. */
lb_status lb_output_check_old(const struct lb_output *output, struct lb_error *err) LB_MUST_USE;

/* Does nothing when no receipt is wanted. All is written by now, and has no name yet. */
lb_status lb_output_write_receipt(const struct lb_output *output, struct lb_error *err) LB_MUST_USE;

/* Errors: a call that failed, the target is there, no memory for a name, an attempt that gives other bytes than the one before. */
lb_status lb_output_write_error(const struct lb_output *output, int errno_value,
                                struct lb_error *err);
/* Opens a stream that is no standard output; a named pipe waits for its reader. */
lb_status lb_output_open_stream(struct lb_output *output, struct lb_error *err);
lb_status lb_output_exists_error(const struct lb_output *output, struct lb_error *err);
lb_status lb_output_name_error(struct lb_error *err);
lb_status lb_output_other_bytes(const struct lb_output *output, struct lb_error *err);

#endif
