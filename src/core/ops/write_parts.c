/* The files that the write sink makes: see write_parts.h. */
#include "core/ops/write_parts.h"

#include <string.h>

#include "core/io/native.h"

void lb_write_parts_count(struct lb_write_parts *parts, size_t size)
{
    parts->part_bytes += size;
    parts->n_bytes += size;
}

static lb_status put(struct lb_write_parts *parts, const void *data, size_t size,
                     struct lb_error *err)
{
    lb_write_parts_count(parts, size);
    return size > 0 ? lb_output_write(parts->output, data, size, err) : LB_OK;
}

/* Writes bytes that have a compressed member to themselves. */
static lb_status put_packed(struct lb_write_parts *parts, const void *data, size_t size,
                            struct lb_error *err)
{
    struct lb_buf packed = {0};
    if (parts->compression == LB_PLAIN)
        return put(parts, data, size, err);
    lb_status status = lb_output_compress(parts->compression, data, size, &packed, err);
    if (status == LB_OK)
        status = put(parts, packed.data, packed.size, err);
    lb_buf_fini(&packed);
    return status;
}

static lb_status put_native_end(struct lb_write_parts *parts, struct lb_error *err)
{
    struct lb_buf raw = {0};
    lb_status status = lb_native_put_end(parts->part_rows, &raw, err);
    if (status == LB_OK)
        status = put_packed(parts, raw.data, raw.size, err);
    lb_buf_fini(&raw);
    return status;
}

lb_status lb_write_parts_end(struct lb_write_parts *parts, struct lb_error *err)
{
    if (parts->in_part && parts->is_native)
        LB_TRY(put_native_end(parts, err));
    if (parts->in_part && parts->part_bytes == 0 && parts->compression != LB_PLAIN)
        LB_TRY(put_packed(parts, "", 0, err));
    parts->in_part = false;
    parts->part_bytes = parts->part_rows = 0;
    return LB_OK;
}

lb_status lb_write_parts_begin(struct lb_write_parts *parts, struct lb_error *err)
{
    if (parts->in_part)
        return LB_OK;
    const char *folder = parts->folder.size > 0 ? parts->folder.data : "";
    LB_TRY(lb_output_part(parts->output, folder, parts->n_parts++, err));
    parts->in_part = true;
    return parts->header.size > 0 ? put_packed(parts, parts->header.data, parts->header.size, err)
                                  : LB_OK;
}

static lb_status enter_folder(struct lb_write_parts *parts, const char *folder, size_t size,
                              struct lb_error *err)
{
    if (parts->folder.size == size && memcmp(parts->folder.data, folder, size) == 0)
        return LB_OK;
    LB_TRY(lb_write_parts_end(parts, err));
    parts->n_parts = 0;
    parts->folder.size = 0;
    return lb_buf_append(&parts->folder, folder, size, err);
}

lb_status lb_write_parts_put(struct lb_write_parts *parts, const struct lb_buf *bytes,
                             const struct lb_buf *marks, uint64_t n_rows, struct lb_error *err)
{
    const char *cursor = marks->data;
    size_t from = 0;
    struct lb_write_mark mark;
    if (bytes->size == 0)
        return LB_OK;
    parts->part_rows += n_rows;
    parts->n_rows += n_rows;
    for (; marks->size > 0 && cursor < marks->data + marks->size; cursor += mark.size) {
        memcpy(&mark, cursor, sizeof mark);
        cursor += sizeof mark;
        if (mark.at > from) {
            LB_TRY(lb_write_parts_begin(parts, err));
            LB_TRY(put(parts, bytes->data + from, mark.at - from, err));
        }
        from = mark.at;
        LB_TRY(enter_folder(parts, cursor, mark.size, err));
    }
    LB_TRY(lb_write_parts_begin(parts, err));
    return put(parts, bytes->data + from, bytes->size - from, err);
}

lb_status lb_write_parts_end_morsel(struct lb_write_parts *parts, bool goes_on,
                                    struct lb_error *err)
{
    if (!lb_output_is_directory(parts->output))
        return LB_OK;
    if (parts->part_per_morsel) {
        if (goes_on)
            return LB_OK;
        LB_TRY(lb_write_parts_begin(parts, err)); /* an empty partition has its file, too */
        return lb_write_parts_end(parts, err);
    }
    return parts->part_bytes >= parts->max_part_bytes ? lb_write_parts_end(parts, err) : LB_OK;
}
