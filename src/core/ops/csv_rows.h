/* Rows of CSV records: the parameters of scan.csv, and blocks of text made into batches of typed columns.
 *
 * CALLS  lb_csv_schema_init, lb_csv_schema_fini once. Per worker lb_csv_rows_init; then per piece of a block
 *        lb_csv_rows_cut, lb_csv_rows_convert; lb_csv_rows_fini. */
#ifndef LB_OPS_CSV_ROWS_H
#define LB_OPS_CSV_ROWS_H

#include "core/column/codec.h"
#include "core/io/csv.h"
#include "core/ops/bad_records.h"

struct lb_csv_column {
    uint32_t field; /* 0-based number in the file */
    enum lb_csv_type type;
    bool is_inferred; /* may be widened by a restart */
    const char *name; /* for messages */
    size_t name_size;
};

/* What scan.csv was asked for; the strings are those of the plan. */
struct lb_csv_schema {
    struct lb_csv_dialect dialect;
    struct lb_value file_names; /* list of strings: all columns of the file */
    uint32_t n_fields;
    struct lb_csv_column *columns;
    uint32_t n_columns;
    struct lb_value nulls; /* list of strings */
    uint64_t null_sizes;   /* bit i: a null has i bytes; bit 63: 63 or more */
    bool has_header;
    bool checks_header;
    bool fails_on_bad; /* cut stops behind a bad record */
};

struct lb_csv_rows {
    const struct lb_csv_schema *schema;
    struct lb_csv_index index;
    /* of the rows, LB_BATCH_ROWS long */
    uint32_t *starts; /* where the record begins in data */
    uint32_t *firsts; /* the index of its first field's end in index.positions */
    uint32_t *select; /* the rows that are good, if not all */
    uint32_t n_rows, n_good;
    const char *data; /* the rows' bytes, borrowed */
    struct lb_column *columns;
    uint64_t **valids; /* per column: which values are not nil */
    struct lb_arena strings;
    uint64_t *is_bad;       /* a bit a row: a declared column does not fit */
    struct lb_bad_list bad; /* records left out by cut and convert */
    /* what inferred columns would have to be: set by convert when it found a misfit */
    bool is_misfit;
    enum lb_csv_type *wider;     /* per column */
    struct lb_bad_record misfit; /* the first that was found */
};

lb_status lb_csv_schema_init(const struct lb_op *op, struct lb_csv_schema *schema,
                             struct lb_error *err) LB_MUST_USE;
void lb_csv_schema_fini(struct lb_csv_schema *schema);

lb_status lb_csv_rows_init(struct lb_csv_rows *rows, const struct lb_csv_schema *schema,
                           struct lb_error *err) LB_MUST_USE;
void lb_csv_rows_fini(struct lb_csv_rows *rows);
/* Finds the records that begin before `limit` and are whole in [data, data + size); takes as many as
 * fit a batch. *used: bytes of the records seen; 0: none is whole. Lines without a byte are left out unless the file has
 * one column. Stops behind a bad record when that fails the run. */
lb_status lb_csv_rows_cut(struct lb_csv_rows *rows, const char *data, size_t size, size_t limit,
                          size_t *used, struct lb_error *err) LB_MUST_USE;
/* Makes rows->columns of the rows. Bad records are added to rows->bad. */
lb_status lb_csv_rows_convert(struct lb_csv_rows *rows, struct lb_error *err) LB_MUST_USE;
/* The end of a row's record, without its newline. */
uint32_t lb_csv_rows_end(const struct lb_csv_rows *rows, uint32_t row);

/* The header in [data, data + size), a record with its newline, must name the schema's columns. LB_ERR_DATA. */
lb_status lb_csv_check_header(struct lb_csv_rows *rows, const char *data, size_t size,
                              struct lb_error *err) LB_MUST_USE;

#endif
