/* Builders: columns made row by row.
 *
 * IDEA  An append checks one thing: is the column of this type already, with room for a row? Then
 * it stores and counts. Whatever else can happen (first value, growth, widening) is make_ready, out
 * of line.
 *
 * STATES  LB_NULL: only rows of nil so far, neither data nor valid is used. A typed column: the
 * first n_rows slots of data, packed at the type's width, are written, those of nil rows with
 * zeros. LB_ANY: a column that widened, or whose first value was a table.
 *
 * VALID  While n_nulls is 0 the bitmap is not touched; the first nil writes it for all rows so far.
 *
 * MEMORY  data has 16 bytes a row whatever the type, so that a column widens in place, from its
 * last row to its first. Copied bytes are in the arena, whose chunk grows to what a batch needs:
 * then reset keeps it, and the next batch allocates nothing. */
#include "core/column/builder.h"

#include "core/base/sys.h"
#include "core/column/codec.h"

enum {
#ifdef LB_TINY
    FIRST_ROWS = 2,
    FIRST_CHUNK_BYTES = 128,
    MAX_CHUNK_BYTES = 1024,
#else
    FIRST_ROWS = 64,
    FIRST_CHUNK_BYTES = 4096,
    MAX_CHUNK_BYTES = 1 << 20,
#endif
    SLOT_BYTES = 16,
    STRING_HEAD_BYTES = 5 /* of an encoded string */
};

/* Bytes of a row in data. ORDER types */
static const uint8_t type_widths[] = {0, 1, 8, 8, 16, 16};

static size_t bitmap_bytes(uint32_t n_rows)
{
    return ((size_t)n_rows + 63) / 64 * 8;
}

void lb_builder_init(struct lb_builder *b)
{
    memset(b, 0, sizeof *b);
    b->type = LB_NULL;
    lb_arena_init(&b->strings, FIRST_CHUNK_BYTES);
}

void lb_builder_fini(struct lb_builder *b)
{
    lb_free(b->data, (size_t)b->capacity * SLOT_BYTES);
    lb_free(b->valid, bitmap_bytes(b->capacity));
    lb_arena_fini(&b->strings);
    lb_builder_init(b);
}

void lb_builder_reset(struct lb_builder *b)
{
    struct lb_arena *strings = &b->strings;

    while (strings->held_bytes > strings->chunk_bytes && strings->chunk_bytes < MAX_CHUNK_BYTES)
        strings->chunk_bytes *= 2;
    lb_arena_reset(strings);
    b->type = LB_NULL;
    b->n_rows = 0;
    b->n_nulls = 0;
}

/* ---- slow paths ---- */

/* Room for n rows altogether. data and valid change together or not at all, as capacity is the size
 * of both. */
static lb_status grow(struct lb_builder *b, uint64_t n, struct lb_error *err)
{
    uint64_t capacity = b->capacity < FIRST_ROWS ? FIRST_ROWS : b->capacity;
    uint64_t *valid;
    void *data;

    if (n <= b->capacity)
        return LB_OK;
    while (capacity < n)
        capacity *= 2;
    if (capacity > (uint64_t)1 << 31)
        return lb_error_set(err, LB_ERR_RESOURCE, "a column has too many rows");

    valid = lb_alloc_zero(bitmap_bytes((uint32_t)capacity));
    if (valid == NULL)
        return lb_error_memory(err, "a column", bitmap_bytes((uint32_t)capacity));
    data = lb_realloc(b->data, (size_t)b->capacity * SLOT_BYTES, capacity * SLOT_BYTES);
    if (data == NULL) {
        lb_free(valid, bitmap_bytes((uint32_t)capacity));
        return lb_error_memory(err, "a column", capacity * SLOT_BYTES);
    }
    if (b->n_nulls > 0 && b->valid != NULL)
        memcpy(valid, b->valid, bitmap_bytes(b->capacity));
    lb_free(b->valid, bitmap_bytes(b->capacity));
    b->data = data;
    b->valid = valid;
    b->capacity = (uint32_t)capacity;
    return LB_OK;
}

/* The first value of a column that so far has only nils, if any. Fits n more rows, at least one. */
static lb_status start(struct lb_builder *b, enum lb_type type, uint32_t n, struct lb_error *err)
{
    LB_TRY(grow(b, (uint64_t)b->n_rows + (n > 0 ? n : 1), err));
    memset(b->data, 0, (size_t)b->n_rows * type_widths[type]);
    if (b->n_nulls > 0)
        memset(b->valid, 0, bitmap_bytes(b->capacity));
    b->type = type;
    return LB_OK;
}

static void encode_string(char *out, const char *data, uint32_t size)
{
    out[0] = 's';
    memcpy(out + 1, &size, 4);
    if (size > 0)
        memcpy(out + STRING_HEAD_BYTES, data, size);
}

/* Turns a typed column into `any`. All memory is had before the first row changes. */
static lb_status widen(struct lb_builder *b, struct lb_error *err)
{
    struct lb_view *views = b->data;
    struct lb_column old = lb_builder_finish(b);
    size_t n_bytes = 0;
    char *bytes = NULL;

    if (b->type == LB_STRING) {
        for (uint32_t i = 0; i < b->n_rows; i++)
            if (views[i].size + (size_t)STRING_HEAD_BYTES > LB_VIEW_INLINE)
                n_bytes += views[i].size + (size_t)STRING_HEAD_BYTES;
        bytes = lb_arena_alloc(&b->strings, n_bytes);
        if (bytes == NULL)
            return lb_error_memory(err, "a column of mixed values", n_bytes);
    }
    /* Row i lies at or before view i: going down, nothing is overwritten before it is read. */
    for (uint32_t i = b->n_rows; i-- > 0;) {
        char small[LB_VIEW_INLINE];
        uint32_t size;

        if (!lb_column_is_valid(&old, i)) {
            memset(&views[i], 0, sizeof views[i]);
            continue;
        }
        switch (b->type) {
        case LB_BOOL:
            small[0] = old.bools[i] ? 't' : 'f';
            lb_view_set(&views[i], small, 1);
            break;
        case LB_INT64:
        case LB_FLOAT64:
            small[0] = b->type == LB_INT64 ? 'i' : 'd';
            memcpy(small + 1, &old.ints[i], 8);
            lb_view_set(&views[i], small, 9);
            break;
        default: /* LB_STRING */
            size = views[i].size;
            if (size + (size_t)STRING_HEAD_BYTES <= LB_VIEW_INLINE) {
                encode_string(small, lb_view_data(&views[i]), size);
                lb_view_set(&views[i], small, size + STRING_HEAD_BYTES);
            } else {
                encode_string(bytes, lb_view_data(&views[i]), size);
                lb_view_set(&views[i], bytes, size + STRING_HEAD_BYTES);
                bytes += size + STRING_HEAD_BYTES;
            }
            break;
        }
    }
    b->type = LB_ANY;
    return LB_OK;
}

/* Makes the column one of this type, or `any`, with room for a row. */
static __attribute__((noinline)) lb_status make_ready(struct lb_builder *b, enum lb_type type,
                                                      struct lb_error *err)
{
    if (b->type == LB_NULL)
        return start(b, type, 1, err);
    if (b->type != type && b->type != LB_ANY)
        LB_TRY(widen(b, err));
    return b->n_rows < b->capacity ? LB_OK : grow(b, (uint64_t)b->n_rows + 1, err);
}

static inline bool is_ready(const struct lb_builder *b, enum lb_type type)
{
    return __builtin_expect(b->type == type && b->n_rows < b->capacity, 1);
}

static inline void end_value(struct lb_builder *b)
{
    if (b->n_nulls > 0)
        b->valid[b->n_rows >> 6] |= (uint64_t)1 << (b->n_rows & 63);
    b->n_rows++;
}

/* ---- appends ---- */

static inline void zero_slot(char *slot, size_t width)
{
    if (width == 1)
        memset(slot, 0, 1);
    else if (width == 8)
        memset(slot, 0, 8);
    else
        memset(slot, 0, 16);
}

lb_status lb_builder_null(struct lb_builder *b, struct lb_error *err)
{
    if (b->type != LB_NULL) {
        size_t width = type_widths[b->type];

        if (b->n_rows >= b->capacity)
            LB_TRY(grow(b, (uint64_t)b->n_rows + 1, err));
        if (b->n_nulls == 0) {
            memset(b->valid, 0, bitmap_bytes(b->capacity));
            memset(b->valid, 0xFF, b->n_rows / 64 * (size_t)8);
            if (b->n_rows % 64 != 0)
                b->valid[b->n_rows / 64] = ((uint64_t)1 << (b->n_rows % 64)) - 1;
        }
        zero_slot((char *)b->data + b->n_rows * width, width);
    } else if (b->n_rows == UINT32_MAX) {
        return lb_error_set(err, LB_ERR_RESOURCE, "a column has too many rows");
    }
    b->n_rows++;
    b->n_nulls++;
    return LB_OK;
}

/* Appends an encoded value to a column of type `any` with room for it. */
static lb_status append_any(struct lb_builder *b, const char *data, size_t size, bool copies,
                            struct lb_error *err)
{
    if (copies && size > LB_VIEW_INLINE) {
        char *copy = lb_arena_alloc(&b->strings, size);

        if (copy == NULL)
            return lb_error_memory(err, "a column's values", size);
        memcpy(copy, data, size);
        data = copy;
    }
    lb_view_set((struct lb_view *)b->data + b->n_rows, data, size);
    end_value(b);
    return LB_OK;
}

static lb_status append_any_string(struct lb_builder *b, const char *data, size_t size,
                                   struct lb_error *err)
{
    char small[LB_VIEW_INLINE];
    char *encoded = small;

    if (size + STRING_HEAD_BYTES > LB_VIEW_INLINE) {
        encoded = lb_arena_alloc(&b->strings, size + STRING_HEAD_BYTES);
        if (encoded == NULL)
            return lb_error_memory(err, "a column's values", size + STRING_HEAD_BYTES);
    }
    encode_string(encoded, data, (uint32_t)size);
    lb_view_set((struct lb_view *)b->data + b->n_rows, encoded, size + STRING_HEAD_BYTES);
    end_value(b);
    return LB_OK;
}

static lb_status append_any_number(struct lb_builder *b, char tag, const void *number,
                                   struct lb_error *err)
{
    char encoded[9] = {tag};

    memcpy(encoded + 1, number, 8);
    return append_any(b, encoded, sizeof encoded, false, err);
}

lb_status lb_builder_bool(struct lb_builder *b, bool value, struct lb_error *err)
{
    if (!is_ready(b, LB_BOOL)) {
        LB_TRY(make_ready(b, LB_BOOL, err));
        if (b->type == LB_ANY)
            return append_any(b, value ? "t" : "f", 1, false, err);
    }
    ((uint8_t *)b->data)[b->n_rows] = value;
    end_value(b);
    return LB_OK;
}

lb_status lb_builder_int(struct lb_builder *b, int64_t value, struct lb_error *err)
{
    if (!is_ready(b, LB_INT64)) {
        LB_TRY(make_ready(b, LB_INT64, err));
        if (b->type == LB_ANY)
            return append_any_number(b, 'i', &value, err);
    }
    ((int64_t *)b->data)[b->n_rows] = value;
    end_value(b);
    return LB_OK;
}

lb_status lb_builder_float(struct lb_builder *b, double value, struct lb_error *err)
{
    if (!is_ready(b, LB_FLOAT64)) {
        LB_TRY(make_ready(b, LB_FLOAT64, err));
        if (b->type == LB_ANY)
            return append_any_number(b, 'd', &value, err);
    }
    ((double *)b->data)[b->n_rows] = value;
    end_value(b);
    return LB_OK;
}

static __attribute__((noinline)) lb_status refuse_string(size_t size, struct lb_error *err)
{
    return lb_error_set(err, LB_ERR_RESOURCE, "a string is too long: %zu bytes", size);
}

lb_status lb_builder_string(struct lb_builder *b, const char *data, size_t size,
                            struct lb_error *err)
{
    if (!is_ready(b, LB_STRING)) {
        if (size > UINT32_MAX - STRING_HEAD_BYTES)
            return refuse_string(size, err);
        LB_TRY(make_ready(b, LB_STRING, err));
        if (b->type == LB_ANY)
            return append_any_string(b, data, size, err);
    }
    if (size > LB_VIEW_INLINE) {
        char *copy;

        if (size > UINT32_MAX - STRING_HEAD_BYTES)
            return refuse_string(size, err);
        copy = lb_arena_alloc(&b->strings, size);
        if (copy == NULL)
            return lb_error_memory(err, "a column's strings", size);
        memcpy(copy, data, size);
        data = copy;
    }
    lb_view_set((struct lb_view *)b->data + b->n_rows, data, size);
    end_value(b);
    return LB_OK;
}

lb_status lb_builder_view(struct lb_builder *b, const char *data, size_t size, struct lb_error *err)
{
    if (__builtin_expect(size > UINT32_MAX - STRING_HEAD_BYTES, 0))
        return refuse_string(size, err);
    if (!is_ready(b, LB_STRING)) {
        LB_TRY(make_ready(b, LB_STRING, err));
        if (b->type == LB_ANY)
            return append_any_string(b, data, size, err);
    }
    lb_view_set((struct lb_view *)b->data + b->n_rows, data, size);
    end_value(b);
    return LB_OK;
}

static lb_status append_encoded(struct lb_builder *b, const char *data, size_t size, bool copies,
                                struct lb_error *err)
{
    struct lb_value value;

    if (data[0] == 'n')
        return lb_builder_null(b, err);
    if (b->type != LB_ANY) {
        const char *cursor = data;

        lb_codec_next(&cursor, &value);
        switch (value.tag) {
        case 'f':
        case 't':
            return lb_builder_bool(b, value.tag == 't', err);
        case 'i':
            return lb_builder_int(b, value.i, err);
        case 'd':
            return lb_builder_float(b, value.d, err);
        case 's':
            /* A column of another type becomes `any` now: then the encoded form can be borrowed. */
            if (b->type == LB_STRING || b->type == LB_NULL)
                return copies ? lb_builder_string(b, value.data, value.size, err)
                              : lb_builder_view(b, value.data, value.size, err);
            break;
        default:
            break;
        }
    }
    LB_TRY(make_ready(b, LB_ANY, err));
    return append_any(b, data, size, copies, err);
}

lb_status lb_builder_encoded(struct lb_builder *b, const char *data, size_t size,
                             struct lb_error *err)
{
    return append_encoded(b, data, size, true, err);
}

lb_status lb_builder_encoded_view(struct lb_builder *b, const char *data, size_t size,
                                  struct lb_error *err)
{
    return append_encoded(b, data, size, false, err);
}

lb_status lb_builder_value(struct lb_builder *b, const struct lb_value *value, struct lb_error *err)
{
    size_t size;
    const char *encoded;
    switch (value->tag) {
    case 'f':
    case 't':
        return lb_builder_bool(b, value->tag == 't', err);
    case 'i':
        return lb_builder_int(b, value->i, err);
    case 'd':
        return lb_builder_float(b, value->d, err);
    case 's':
        return lb_builder_string(b, value->data, value->size, err);
    case 'l':
    case 'm':
        encoded = lb_value_encoded(value, &size);
        return lb_builder_encoded(b, encoded, size, err);
    default:
        return lb_builder_null(b, err);
    }
}

lb_status lb_builder_column(struct lb_builder *b, const struct lb_column *column, uint32_t row,
                            struct lb_error *err)
{
    const struct lb_view *view;

    if (!lb_column_is_valid(column, row))
        return lb_builder_null(b, err);
    switch (column->type) {
    case LB_NULL:
        break;
    case LB_BOOL:
        return lb_builder_bool(b, column->bools[row] != 0, err);
    case LB_INT64:
        return lb_builder_int(b, column->ints[row], err);
    case LB_FLOAT64:
        return lb_builder_float(b, column->floats[row], err);
    case LB_STRING:
        view = &column->views[row];
        return lb_builder_string(b, lb_view_data(view), view->size, err);
    case LB_ANY:
        view = &column->views[row];
        return append_encoded(b, lb_view_data(view), view->size, true, err);
    }
    return lb_builder_null(b, err);
}

lb_status lb_builder_room(struct lb_builder *b, enum lb_type type, uint32_t n, void **room,
                          struct lb_error *err)
{
    if (b->type == LB_NULL)
        LB_TRY(start(b, type, n, err));
    else if (b->type != type)
        return lb_error_set(err, LB_ERR_INTERNAL, "room for values of another type in a column");
    else
        LB_TRY(grow(b, (uint64_t)b->n_rows + n, err));
    *room = (char *)b->data + (size_t)b->n_rows * type_widths[type];
    return LB_OK;
}

void lb_builder_commit(struct lb_builder *b, uint32_t n)
{
    if (b->n_nulls == 0) {
        b->n_rows += n;
        return;
    }
    for (uint32_t i = 0; i < n; i++)
        end_value(b);
}

struct lb_column lb_builder_finish(const struct lb_builder *b)
{
    struct lb_column column = {.type = b->type};

    if (b->type != LB_NULL) {
        column.data = b->data;
        column.valid = b->n_nulls > 0 ? b->valid : NULL;
    }
    return column;
}
