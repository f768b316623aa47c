/* The value codec: putting, the checked reader, the trusting reader, and the full check. */
#include "core/column/codec.h"

enum {
    SCALAR_BYTES = 9,      /* tag and 8 bytes */
    STRING_HEAD_BYTES = 5, /* tag and size */
    HEAD_BYTES = 9,        /* a container's tag, size and count */
    PAIR_BYTES = 6         /* the least that a pair of a map takes: "" and nil */
};

static uint32_t load32(const char *bytes)
{
    uint32_t value;

    memcpy(&value, bytes, 4);
    return value;
}

static uint64_t load64(const char *bytes)
{
    uint64_t value;

    memcpy(&value, bytes, 8);
    return value;
}

/* ---- putting ---- */

/* Room for `more` bytes; the buffer stays below 4 GiB, so that no container in it can be larger. */
static inline lb_status make_room(struct lb_buf *out, size_t more, struct lb_error *err)
{
    if (__builtin_expect(out->size + more > UINT32_MAX, 0))
        return lb_error_set(err, LB_ERR_RESOURCE, "a value is too large: more than 4 GiB");
    return lb_buf_reserve(out, more, err);
}

static lb_status put_tag(struct lb_buf *out, char tag, struct lb_error *err)
{
    LB_TRY(make_room(out, 1, err));
    out->data[out->size++] = tag;
    return LB_OK;
}

static lb_status put_scalar(struct lb_buf *out, char tag, const void *bytes, struct lb_error *err)
{
    LB_TRY(make_room(out, SCALAR_BYTES, err));
    out->data[out->size] = tag;
    memcpy(out->data + out->size + 1, bytes, 8);
    out->size += SCALAR_BYTES;
    return LB_OK;
}

lb_status lb_codec_put_nil(struct lb_buf *out, struct lb_error *err)
{
    return put_tag(out, 'n', err);
}

lb_status lb_codec_put_bool(struct lb_buf *out, bool value, struct lb_error *err)
{
    return put_tag(out, value ? 't' : 'f', err);
}

lb_status lb_codec_put_int(struct lb_buf *out, int64_t value, struct lb_error *err)
{
    return put_scalar(out, 'i', &value, err);
}

lb_status lb_codec_put_float(struct lb_buf *out, double value, struct lb_error *err)
{
    return put_scalar(out, 'd', &value, err);
}

lb_status lb_codec_put_string(struct lb_buf *out, const char *data, size_t size,
                              struct lb_error *err)
{
    uint32_t size32 = (uint32_t)size;

    if (size > UINT32_MAX - STRING_HEAD_BYTES)
        return lb_error_set(err, LB_ERR_RESOURCE, "a string is too long: %zu bytes", size);
    LB_TRY(make_room(out, STRING_HEAD_BYTES + size, err));
    out->data[out->size] = 's';
    memcpy(out->data + out->size + 1, &size32, 4);
    if (size > 0)
        memcpy(out->data + out->size + STRING_HEAD_BYTES, data, size);
    out->size += STRING_HEAD_BYTES + size;
    return LB_OK;
}

lb_status lb_codec_put_column(struct lb_buf *out, const struct lb_column *column, uint32_t row,
                              struct lb_error *err)
{
    const struct lb_view *view;

    if (!lb_column_is_valid(column, row))
        return lb_codec_put_nil(out, err);
    switch (column->type) {
    case LB_NULL:
        break;
    case LB_BOOL:
        return lb_codec_put_bool(out, column->bools[row] != 0, err);
    case LB_INT64:
        return lb_codec_put_int(out, column->ints[row], err);
    case LB_FLOAT64:
        return lb_codec_put_float(out, column->floats[row], err);
    case LB_STRING:
        view = &column->views[row];
        return lb_codec_put_string(out, lb_view_data(view), view->size, err);
    case LB_ANY:
        view = &column->views[row];
        LB_TRY(make_room(out, view->size, err));
        return lb_buf_append(out, lb_view_data(view), view->size, err);
    }
    return lb_codec_put_nil(out, err);
}

lb_status lb_codec_put_value(struct lb_buf *out, const struct lb_value *value, struct lb_error *err)
{
    size_t size;
    const char *encoded;
    switch (value->tag) {
    case 'f':
    case 't':
        return lb_codec_put_bool(out, value->tag == 't', err);
    case 'i':
        return lb_codec_put_int(out, value->i, err);
    case 'd':
        return lb_codec_put_float(out, value->d, err);
    case 's':
        return lb_codec_put_string(out, value->data, value->size, err);
    case 'l':
    case 'm':
        encoded = lb_value_encoded(value, &size);
        LB_TRY(make_room(out, size, err));
        return lb_buf_append(out, encoded, size, err);
    default:
        return lb_codec_put_nil(out, err);
    }
}

lb_status lb_codec_begin(struct lb_buf *out, char tag, size_t *mark, struct lb_error *err)
{
    LB_TRY(make_room(out, HEAD_BYTES, err));
    *mark = out->size;
    memset(out->data + out->size, 0, HEAD_BYTES);
    out->data[out->size] = tag;
    out->size += HEAD_BYTES;
    return LB_OK;
}

void lb_codec_end(struct lb_buf *out, size_t mark, uint32_t count)
{
    char *head = out->data + mark;
    uint32_t size = (uint32_t)(out->size - mark - 5); /* count included */

    if (count == 0)
        head[0] = 'l';
    memcpy(head + 1, &size, 4);
    memcpy(head + 5, &count, 4);
}

/* ---- getting ---- */

static lb_status malformed(struct lb_error *err, const char *what)
{
    return lb_error_set(err, LB_ERR_DATA, "malformed value: %s", what);
}

lb_status lb_codec_get(const char **cursor, const char *end, struct lb_value *value,
                       struct lb_error *err)
{
    const char *bytes = *cursor;
    size_t left = (size_t)(end - bytes);
    uint32_t size;
    uint32_t count;

    if (left == 0)
        return malformed(err, "it ends before its tag");
    switch (bytes[0]) {
    case 'n':
    case 'f':
    case 't':
        size = 1;
        break;
    case 'i':
    case 'd':
        size = SCALAR_BYTES;
        if (left < size)
            return malformed(err, "a number is cut short");
        break;
    case 's':
        if (left < STRING_HEAD_BYTES || load32(bytes + 1) > left - STRING_HEAD_BYTES)
            return malformed(err, "a string is cut short");
        break;
    case 'l':
    case 'm':
        if (left < HEAD_BYTES || load32(bytes + 1) < 4 || load32(bytes + 1) > left - 5)
            return malformed(err, "a table is cut short");
        size = load32(bytes + 1) - 4;
        count = load32(bytes + 5);
        if (count > size / (bytes[0] == 'l' ? 1 : PAIR_BYTES))
            return malformed(err, "a table has more elements than bytes");
        break;
    default:
        return lb_error_set(err, LB_ERR_DATA, "malformed value: unknown tag %u",
                            (unsigned)(unsigned char)bytes[0]);
    }
    lb_codec_next(cursor, value);
    return LB_OK;
}

void lb_codec_next(const char **cursor, struct lb_value *value)
{
    const char *bytes = *cursor;

    value->tag = bytes[0];
    switch (bytes[0]) {
    case 'i':
        value->i = (int64_t)load64(bytes + 1);
        *cursor = bytes + SCALAR_BYTES;
        break;
    case 'd':
        memcpy(&value->d, bytes + 1, 8);
        *cursor = bytes + SCALAR_BYTES;
        break;
    case 's':
        value->data = bytes + STRING_HEAD_BYTES;
        value->size = load32(bytes + 1);
        value->count = 0;
        *cursor = value->data + value->size;
        break;
    case 'l':
    case 'm':
        value->data = bytes + HEAD_BYTES;
        value->size = load32(bytes + 1) - 4;
        value->count = load32(bytes + 5);
        *cursor = value->data + value->size;
        break;
    default: /* 'n', 'f', 't' */
        *cursor = bytes + 1;
        break;
    }
}

size_t lb_codec_size(const char *data)
{
    switch (data[0]) {
    case 'i':
    case 'd':
        return SCALAR_BYTES;
    case 's':
    case 'l':
    case 'm':
        return 5 + (size_t)load32(data + 1);
    default:
        return 1;
    }
}

/* ---- checking ---- */

static int compare_strings(const struct lb_value *a, const struct lb_value *b)
{
    int order = memcmp(a->data, b->data, a->size < b->size ? a->size : b->size);

    return order != 0 ? order : (a->size > b->size) - (a->size < b->size);
}

/* One value with all that it contains; depth: containers that may still be entered. */
static lb_status check_value(const char **cursor, const char *end, unsigned depth,
                             struct lb_error *err)
{
    struct lb_value value;
    struct lb_value key;
    struct lb_value last_key = {.tag = 's'};
    const char *element;
    const char *elements_end;

    LB_TRY(lb_codec_get(cursor, end, &value, err));
    if (value.tag != 'l' && value.tag != 'm')
        return LB_OK;
    if (depth == 0)
        return malformed(err, "nested too deep");
    if (value.tag == 'm' && value.count == 0)
        return malformed(err, "an empty map must be an empty list");
    element = value.data;
    elements_end = value.data + value.size;
    for (uint32_t i = 0; i < value.count; i++) {
        if (value.tag == 'm') {
            LB_TRY(lb_codec_get(&element, elements_end, &key, err));
            if (key.tag != 's')
                return malformed(err, "a map's key is no string");
            if (i > 0 && compare_strings(&last_key, &key) >= 0)
                return malformed(err, "a map's keys are not in order");
            last_key = key;
        }
        LB_TRY(check_value(&element, elements_end, depth - 1, err));
    }
    if (element != elements_end)
        return malformed(err, "bytes behind the last element of a table");
    return LB_OK;
}

lb_status lb_codec_verify(const char *data, size_t size, struct lb_error *err)
{
    const char *cursor = data;

    LB_TRY(check_value(&cursor, data + size, LB_CODEC_DEPTH, err));
    if (cursor != data + size)
        return malformed(err, "bytes behind its end");
    return LB_OK;
}

bool lb_value_field(const struct lb_value *map, const char *key, struct lb_value *value)
{
    const char *cursor;
    size_t key_size = strlen(key);

    if (map->tag != 'm')
        return false;
    cursor = map->data;
    for (uint32_t i = 0; i < map->count; i++) {
        struct lb_value name;

        lb_codec_next(&cursor, &name);
        if (name.size == key_size && memcmp(name.data, key, key_size) == 0) {
            lb_codec_next(&cursor, value);
            return true;
        }
        cursor += lb_codec_size(cursor);
    }
    return false;
}
