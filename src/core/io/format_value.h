/* Single values as text: what the formats of format.h are made of. Inside the room only.
 *
 * The put_ functions append to out; those of strings and numbers reserve for themselves. */
#ifndef LB_IO_FORMAT_VALUE_H
#define LB_IO_FORMAT_VALUE_H

#include "core/base/buf.h"
#include "core/column/codec.h"
#include "core/io/format.h"

lb_status lb_format_json_string(const char *data, size_t size, struct lb_buf *out,
                                struct lb_error *err) LB_MUST_USE;
/* separator: ',' or a tab. */
lb_status lb_format_csv_string(char separator, const char *data, size_t size, struct lb_buf *out,
                               struct lb_error *err) LB_MUST_USE;
/* Appends the selected rows as CSV; false, with nothing done: a column has values that this does not write. */
bool lb_format_csv_batch(char separator, const struct lb_batch *batch, struct lb_buf *out,
                         lb_status *status, struct lb_error *err);
/* One decoded value, whatever it is, in the format. */
lb_status lb_format_value(enum lb_format format, const struct lb_value *value, struct lb_buf *out,
                          struct lb_error *err) LB_MUST_USE;

#endif
