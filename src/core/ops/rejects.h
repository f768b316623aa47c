/* Records that a run leaves out and writes to a file: what { to = path } means for sources (on_bad) and user functions (on_error).
 *
 * IDEA    Workers collect rejects in a buffer and hand it over as one frame of a spill file, which counts when the morsel
 *         has ended well (skips.h). When the run has ended well, or failed since it left out too many, the frames are put in the
 *         order of stage, morsel and coming, and written; the file appears then, also when it has no line. Lines of plain files,
 *         which the sources do not count, are counted then.
 * FORMAT  of the file: JSON lines {"byte":N,"file":"...","kind":"...","line":N,"message":"...","raw":...,"verb":"..."}. byte and
 *         line are those where the record begins, lines counted from 1 (of a compressed file or stream, those of its text);
 *         with file they are absent where the record's origin is not known. raw is the record; that of a source is its text. Of what
 *         fails for a whole group, there is "key" instead.
 * THREADS lb_rejects_of and lb_rejects_add: any. */
#ifndef LB_OPS_REJECTS_H
#define LB_OPS_REJECTS_H

#include "core/base/buf.h"
#include "core/column/batch.h"
#include "core/io/spill.h"
#include "core/ops/context.h"

struct lb_rejects;

struct lb_reject {
    struct lb_origin origin;
    const char *kind; /* a word */
    const char *message;
    const char *verb;  /* NULL: a source's */
    const char *value; /* encoded: the record, or the key */
    size_t value_size;
    bool is_key;
};

/* Those of the run that go to this path; made when it is the first to ask. The run owns it. */
lb_status lb_rejects_of(struct lb_run *run, const char *path, size_t path_size,
                        struct lb_rejects **rejects, struct lb_error *err) LB_MUST_USE;
/* The lines of a file are to stand before those of the run: what checkpoints left out. The file is read when those of the run are written. */
lb_status lb_rejects_begin_with(struct lb_run *run, const char *path, const char *file,
                                struct lb_error *err) LB_MUST_USE;
/* Appends one to a buffer. */
lb_status lb_reject_put(const struct lb_reject *reject, struct lb_buf *buffer,
                        struct lb_error *err) LB_MUST_USE;
/* Keeps what is in the buffer, as rejects of the worker's morsel, and empties it. */
lb_status lb_rejects_add(struct lb_rejects *rejects, struct lb_worker *worker,
                         struct lb_buf *buffer, struct lb_error *err) LB_MUST_USE;
/* For skips.c: the frame counts, as one of the worker's morsel; and those behind the last morsel that counts do not. */
lb_status lb_rejects_commit(struct lb_rejects *rejects, const struct lb_worker *worker,
                            const struct lb_frame *frame, struct lb_error *err) LB_MUST_USE;
void lb_rejects_end_stage(struct lb_run *run, uint64_t last_morsel);
/* When no stage will add to them: all files appear (is_good), or none; what then was asked for is forgotten. At the end of a run, and
 * before by sinks that publish what cannot be taken back. On the thread that runs the stages. */
lb_status lb_rejects_settle(struct lb_run *run, bool is_good, struct lb_error *err) LB_MUST_USE;

/* Of a run that left out too many (run->is_excess): the list, to be asked for when it is known that the run's failure is the last word. Whoever
 * has it deletes it. lb_rejects_write, called once, makes the files appear when all are whole; the run is any that is there. */
struct lb_rejects *lb_rejects_hand_over(struct lb_run *run);
lb_status lb_rejects_write(struct lb_rejects *list, struct lb_run *run,
                           struct lb_error *err) LB_MUST_USE;
void lb_rejects_delete(struct lb_rejects *list); /* NULL allowed */
struct lb_rejects *lb_rejects_next(const struct lb_rejects *rejects);
const char *lb_rejects_path(const struct lb_rejects *rejects);
/* They are to go there instead. */
lb_status lb_rejects_redirect(struct lb_rejects *rejects, const char *path,
                              struct lb_error *err) LB_MUST_USE;

#endif
