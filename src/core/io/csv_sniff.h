/* Names and types of the columns of CSV files, from a sample of the first. */
#ifndef LB_IO_CSV_SNIFF_H
#define LB_IO_CSV_SNIFF_H

#include "core/base/buf.h"
#include "core/io/csv.h"
#include "core/io/path.h"

struct lb_csv_sniff {
    /* what is asked */
    struct lb_csv_dialect dialect;
    bool has_header;
    bool checks_headers; /* the other files must have the same header */
    const char *nulls; /* texts that are nil where they are not quoted: each with a NUL behind it */
    size_t nulls_size;
    /* the answer; freed by lb_csv_sniff_fini */
    struct lb_buf names; /* each with a NUL behind it; without header column1, column2, ... */
    enum lb_csv_type *types;
    uint32_t n_columns;
    uint32_t types_capacity;
};

/* Reads about a megabyte of the first file that is not empty, more when its records are long, and the headers of the others. A
 * column's type is the narrowest that its values in the sample fit; without any it is nil. Records with too few or too many
 * fields do not count. An input that can be read only once is left to the scan with all its bytes (once.h). LB_ERR_DATA: no
 * columns, names that are not different, another header. */
lb_status lb_csv_sniff_files(struct lb_csv_sniff *sniff, const struct lb_file_list *files,
                             struct lb_error *err) LB_MUST_USE;
void lb_csv_sniff_fini(struct lb_csv_sniff *sniff);

#endif
