/* Bad records of sources over text files: what is done with them (`on_bad`). What { to = path } writes: rejects.h. */
#ifndef LB_OPS_BAD_RECORDS_H
#define LB_OPS_BAD_RECORDS_H

#include "core/base/arena.h"
#include "core/ops/file_scan.h"

struct lb_bad_sink;

/* A record that cannot be one. */
struct lb_bad_record {
    uint32_t start, end; /* bytes, from the data that lb_bad_report is given */
    const char *kind;    /* a constant word: "fields", "type", "syntax" ... */
    const char *reason;  /* for people */
};

/* Those of a batch, with their texts. */
struct lb_bad_list {
    struct lb_bad_record *items;
    uint32_t n, capacity;
    struct lb_arena texts;
};

void lb_bad_list_init(struct lb_bad_list *list);
void lb_bad_list_fini(struct lb_bad_list *list);
void lb_bad_list_reset(struct lb_bad_list *list);
lb_status lb_bad_list_add(struct lb_bad_list *list, uint32_t start, uint32_t end, const char *kind,
                          struct lb_error *err, const char *format, ...)
    LB_PRINTF(6, 7) LB_MUST_USE;

/* What a source does: reads the parameter on_bad: "fail" (default), "skip", or { to = path }. */
lb_status lb_bad_sink_new(struct lb_op *op, struct lb_bad_sink **sink,
                          struct lb_error *err) LB_MUST_USE;
void lb_bad_sink_delete(struct lb_bad_sink *sink);
bool lb_bad_sink_fails(const struct lb_bad_sink *sink);
/* Hands in all bad records of a batch: "fail" gives LB_ERR_DATA with the message of the first. */
lb_status lb_bad_report(struct lb_bad_sink *sink, const struct lb_op_local *local, const char *data,
                        struct lb_bad_list *list, struct lb_error *err) LB_MUST_USE;
/* Fills err with a bad record's message; LB_ERR_DATA. */
lb_status lb_bad_message(const struct lb_op_local *local, const char *data,
                         const struct lb_bad_record *record, struct lb_error *err);
/* As lb_bad_message, for one that asks for another start: LB_RESTART. The line is told where it costs nothing. */
lb_status lb_bad_restart(const struct lb_op_local *local, const char *data,
                         const struct lb_bad_record *record, struct lb_error *err);

/* For self->restart: appends "the column (from 1) needs this type". */
lb_status lb_bad_put_type(struct lb_buf *out, uint32_t column, const char *type,
                          struct lb_error *err) LB_MUST_USE;

#endif
