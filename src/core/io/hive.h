/* Columns that stand in the folders of a path: `year=2024/month=1/part-00000.csv`, as save's partition_by, Hive and Spark write them.
 *
 * FORMAT  A folder `name=value`; %XX is a byte in either. The value __HIVE_DEFAULT_PARTITION__ is nil. All folders of a path
 *         count, also those in front of a directory that was asked for. Thread-safe. */
#ifndef LB_IO_HIVE_H
#define LB_IO_HIVE_H

#include "core/base/buf.h"

struct lb_hive_part {
    const char *name, *value; /* as they stand in the path */
    size_t name_size, value_size;
    bool is_nil;
};

/* The next folder with a column in the path at *cursor, which moves behind it. False: there is no further one. */
bool lb_hive_next(const char **cursor, struct lb_hive_part *part);
/* Appends a name or a value as it was before it was written into a path. */
lb_status lb_hive_decode(const char *text, size_t size, struct lb_buf *out,
                         struct lb_error *err) LB_MUST_USE;
/* Whether the name of a folder is one of these. */
bool lb_hive_is_folder(const char *name);

#endif
