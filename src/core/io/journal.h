/* The journal of a job with checkpoints: which of its stages are finished, so that a later run can go on from them.
 *
 * CALLS   open; load; (append | keep)*; then close, and all stays; or remove, then close, and nothing does.
 * FORMAT  a folder (0700) with the file `journal` and the data that its lines tell of. A line is 16 hexadecimal digits, the xxh3 of
 *         what follows the blank behind them, that text, and a newline. Lines are only ever added. One that was cut off when
 *         the process died, or that has another checksum, is passed over: it tells nothing, as if it had not been written.
 * LOCK    An open journal is locked (flock) until it is closed or its process ends: two runs never share a folder.
 * THREADS One at a time. */
#ifndef LB_IO_JOURNAL_H
#define LB_IO_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "core/base/buf.h"

struct lb_journal;

/* Makes the folder and those above it where they are not there. LB_ERR_USAGE when another process has it open. */
lb_status lb_journal_open(const char *folder, struct lb_journal **journal,
                          struct lb_error *err) LB_MUST_USE;
/* Appends all of the file to text. */
lb_status lb_journal_load(const struct lb_journal *journal, struct lb_buf *text,
                          struct lb_error *err) LB_MUST_USE;
/* Goes to the next good line of text and counts damaged ones on the way; false at the end. */
bool lb_journal_next(const char **cursor, const char *end, const char **line, size_t *size,
                     uint64_t *n_damaged);
/* Adds a line, which must not hold a newline, and syncs it: it is there whole, or not at all. */
lb_status lb_journal_append(struct lb_journal *journal, const char *line, size_t size,
                            struct lb_error *err) LB_MUST_USE;
/* Removes all from the folder but the journal and these. What cannot be removed stays. */
void lb_journal_keep(struct lb_journal *journal, const char *const *names, size_t n_names);
/* Forgets all lines: the file is empty afterwards. */
lb_status lb_journal_clear(struct lb_journal *journal, struct lb_error *err) LB_MUST_USE;
/* Removes the folder, the journal last, for what it tells of saves holds to the end, and with_parent: the folder that it lies in if that is empty then. */
void lb_journal_remove(struct lb_journal *journal, bool with_parent);
void lb_journal_close(struct lb_journal *journal);

/* A checksum of a file's content, and its size. */
lb_status lb_file_hash(const char *path, uint64_t *hash, uint64_t *size_bytes,
                       struct lb_error *err) LB_MUST_USE;

#endif
