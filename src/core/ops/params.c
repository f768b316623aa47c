/* Parameters that several operators share. */
#include "core/ops/params.h"

#include "core/base/buf.h"
#include "core/base/sys.h"

static lb_status expand(const struct lb_op *op, struct lb_file_list *files, struct lb_error *err)
{
    struct lb_value list, path;
    if (!lb_value_field(&op->params, "paths", &list) || list.tag != 'l')
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no paths", op->class->name);
    const char *cursor = list.data;
    struct lb_buf name = {0};
    lb_status status = LB_OK;
    for (uint32_t i = 0; i < list.count && status == LB_OK; i++) {
        lb_codec_next(&cursor, &path);
        name.size = 0;
        if (path.tag != 's' || memchr(path.data, 0, path.size) != NULL)
            status = lb_error_set(err, LB_ERR_INTERNAL, "plan: %s: a path is no string",
                                  op->class->name);
        if (status == LB_OK)
            status = lb_buf_append(&name, path.data, path.size, err);
        if (status == LB_OK)
            status = lb_buf_append_byte(&name, '\0', err);
        if (status == LB_OK)
            status = lb_file_list_add(files, name.data, err);
    }
    lb_buf_fini(&name);
    char *compression = NULL;
    if (status == LB_OK)
        status = lb_param_string(op, "compression", &compression, err);
    if (status == LB_OK && compression != NULL)
        status = lb_file_list_tell(files, compression, err);
    lb_strfree(compression);
    return status;
}

lb_status lb_param_list_paths(struct lb_op *op, struct lb_error *err)
{
    struct lb_value list;
    if (!lb_value_field(&op->params, "paths", &list))
        return LB_OK;
    LB_TRY(expand(op, &op->files, err));
    op->has_files = true;
    return LB_OK;
}

lb_status lb_param_paths(struct lb_op *op, struct lb_file_list *files, struct lb_error *err)
{
    if (!op->has_files)
        return expand(op, files, err);
    *files = op->files;
    op->files = (struct lb_file_list){0};
    op->has_files = false;
    return LB_OK;
}
