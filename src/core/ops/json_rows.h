/* Rows of JSON objects: the parameters of scan.json, and blocks of text made into batches of typed columns.
 *
 * CALLS  lb_json_schema_init, lb_json_schema_fini once. Per worker lb_json_rows_init; then per piece of a block
 *        lb_json_rows_cut, lb_json_rows_convert; lb_json_rows_fini. */
#ifndef LB_OPS_JSON_ROWS_H
#define LB_OPS_JSON_ROWS_H

#include "core/column/codec.h"
#include "core/io/json.h"
#include "core/ops/bad_records.h"

struct lb_json_column {
    enum lb_json_type type;
    bool is_inferred; /* may be widened by a restart */
    const char *name; /* of the plan */
    size_t name_size;
};

struct lb_json_name;

/* What scan.json was asked for; the strings are those of the plan. */
struct lb_json_schema {
    struct lb_json_column *columns;
    uint32_t n_columns;
    bool watches_all;  /* a name that is in no list asks for a restart */
    bool fails_on_bad; /* cut stops behind a bad record */
    /* All names that are known: of columns, of members that are not read, of those that are watched for. */
    struct lb_json_name *names; /* hash table, n_slots long, at most half full */
    uint32_t n_slots;           /* a power of two */
    uint32_t n_names;
};

/* A span of text: from == to: nothing. */
struct lb_json_span {
    uint32_t from, to;
};

/* A member that is in no column and should be. */
struct lb_json_added {
    const char *name; /* of the rows' arena `names` */
    size_t size;
    enum lb_json_type type;
    uint32_t row; /* where it came first */
};

struct lb_json_shapes;

struct lb_json_rows {
    const struct lb_json_schema *schema;
    struct lb_json_index index;
    struct lb_json_members members;
    struct lb_json_shapes *shapes;
    /* of the rows, LB_BATCH_ROWS long */
    uint32_t *starts, *ends; /* the record's bytes in data */
    uint32_t *select;        /* the rows that are good, if not all */
    uint32_t n_rows, n_good;
    struct lb_json_span **spans; /* per column: the value's text */
    const char *data;            /* the rows' bytes, borrowed */
    struct lb_column *columns;
    uint64_t **valids; /* per column: which values are not nil */
    uint64_t *is_bad;  /* a bit a row: some value does not fit */
    struct lb_arena strings;
    struct lb_buf scratch;
    uint32_t *seen; /* per known name: the number of the record that had it last */
    uint32_t stamp; /* that number */
    /* bad records of the batch */
    struct lb_bad_list bad;
    /* what inferred columns would have to be, LB_JSON_NULL: as they are; set by convert */
    bool is_misfit;
    enum lb_json_type *wider;
    struct lb_bad_record misfit; /* the first of them */
    /* names that cut found and that should be columns */
    struct lb_arena names;
    struct lb_json_added *added;
    uint32_t n_added, added_capacity;
};

lb_status lb_json_schema_init(const struct lb_op *op, struct lb_json_schema *schema,
                              struct lb_error *err) LB_MUST_USE;
void lb_json_schema_fini(struct lb_json_schema *schema);

lb_status lb_json_rows_init(struct lb_json_rows *rows, const struct lb_json_schema *schema,
                            struct lb_error *err) LB_MUST_USE;
void lb_json_rows_fini(struct lb_json_rows *rows);
/* Finds the records that begin before `limit` and are whole in [data, data + size), from where the walk stands (walk->next is
 * not used); takes as many as fit a batch. *used: bytes of the records seen. An array that is none: LB_ERR_DATA with *used at
 * the place. */
lb_status lb_json_rows_cut(struct lb_json_rows *rows, struct lb_json_walk *walk, const char *data,
                           size_t size, size_t limit, size_t *used,
                           struct lb_error *err) LB_MUST_USE;
/* Makes rows->columns of the rows. */
lb_status lb_json_rows_convert(struct lb_json_rows *rows, struct lb_error *err) LB_MUST_USE;

#endif
