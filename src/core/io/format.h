/* Records as text for output.
 *
 * ORDER formats
 *   text: columns separated by tabs; strings as they are, numbers as lb_format_*, true/false, nil
 *         as "nil", tables as JSON
 *   json: one JSON value a line; a record of several columns is an array. Strings are
 *         written byte by byte, also where they are not UTF-8, so that they are read back. NaN and infinities are the strings "nan", "inf",
 *         "-inf"
 *   csv:  RFC 4180 quoting where needed, "\n" line ends, nil empty (an empty string is quoted),
 *         tables as JSON
 *   lua:  one Lua expression a line, "return"-able: 1, "a\n", {1,2}; several columns separated
 *         by ", "
 *   tsv:  as csv, with tabs */
#ifndef LB_IO_FORMAT_H
#define LB_IO_FORMAT_H

#include "core/base/buf.h"
#include "core/column/batch.h"

enum lb_format { LB_FORMAT_TEXT, LB_FORMAT_JSON, LB_FORMAT_CSV, LB_FORMAT_LUA, LB_FORMAT_TSV };

/* Appends every selected row, each with its newline. */
lb_status lb_format_batch(enum lb_format format, const struct lb_batch *batch, struct lb_buf *out,
                          struct lb_error *err) LB_MUST_USE;
/* Appends every selected row as a JSON object of all its columns, nil as null. keys: for each column what stands before its
 * value, such as `{"a":` and `,"b":`, a NUL behind each. */
lb_status lb_format_objects(const struct lb_batch *batch, const char *keys, size_t keys_size,
                            struct lb_buf *out, struct lb_error *err) LB_MUST_USE;
/* Appends one encoded value (column/codec.h) in the given format, without newline. */
lb_status lb_format_encoded(enum lb_format format, const char *data, size_t size,
                            struct lb_buf *out, struct lb_error *err) LB_MUST_USE;
bool lb_format_parse_name(const char *name, enum lb_format *format); /* "text" "json" ... */

#endif
