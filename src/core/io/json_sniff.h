/* Names and types of the columns of JSON files, from a sample of the first. */
#ifndef LB_IO_JSON_SNIFF_H
#define LB_IO_JSON_SNIFF_H

#include "core/base/buf.h"
#include "core/io/json.h"
#include "core/io/path.h"

struct lb_json_sniff {
    /* what is asked */
    bool may_be_empty; /* no columns are no error */
    /* the answer; freed by lb_json_sniff_fini */
    struct lb_buf names; /* each with a NUL behind it, in the order of their first coming */
    struct lb_buf types; /* of enum lb_json_type, one a name */
    uint32_t n_columns;
};

/* Reads the records in about a megabyte of the first file that has one, more when they are long. A column's type is the narrowest that its values in the
 * sample fit; of one that has only nulls it is `any`. What is no record does not count. An input that can be read
 * only once is left to the scan with all its bytes (once.h). LB_ERR_DATA: no columns. */
lb_status lb_json_sniff_files(struct lb_json_sniff *sniff, const struct lb_file_list *files,
                              struct lb_error *err) LB_MUST_USE;
void lb_json_sniff_fini(struct lb_json_sniff *sniff);

#endif
