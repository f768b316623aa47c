/* The growable byte buffer: slow paths. */
#include "core/base/buf.h"

#include <stdint.h>
#include <stdio.h>

#include "core/base/sys.h"

/* From LARGE_BYTES on a buffer grows by a quarter: memory that is counted, and moving large blocks costs little. */
enum { FIRST_CAPACITY = 64, LARGE_BYTES = 1 << 20 };

void lb_buf_fini(struct lb_buf *buf)
{
    lb_free(buf->data, buf->capacity);
    buf->data = NULL;
    buf->size = 0;
    buf->capacity = 0;
}

lb_status lb_buf_grow(struct lb_buf *buf, size_t more, struct lb_error *err)
{
    size_t wanted = buf->size + more;
    size_t capacity = buf->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buf->capacity;
    char *data;

    if (more > SIZE_MAX / 2 - buf->size)
        return lb_error_memory(err, "a buffer", more);
    if (wanted <= buf->capacity)
        return LB_OK;
    while (capacity < wanted && capacity < LARGE_BYTES)
        capacity *= 2;
    if (capacity < wanted)
        capacity = (wanted + wanted / 4 + 4095) / 4096 * 4096;
    data = lb_realloc(buf->data, buf->capacity, capacity);
    if (data == NULL)
        return lb_error_memory(err, "a buffer", capacity);
    buf->data = data;
    buf->capacity = capacity;
    return LB_OK;
}

lb_status lb_buf_printf(struct lb_buf *buf, struct lb_error *err, const char *format, ...)
{
    va_list arguments;
    size_t room = buf->capacity - buf->size;
    int size;

    va_start(arguments, format);
    size = vsnprintf(room > 0 ? buf->data + buf->size : NULL, room, format, arguments);
    va_end(arguments);
    if (size < 0)
        return lb_error_set(err, LB_ERR_INTERNAL, "cannot format text with '%s'", format);
    if ((size_t)size >= room) { /* vsnprintf needs one byte more, for its NUL */
        LB_TRY(lb_buf_reserve(buf, (size_t)size + 1, err));
        va_start(arguments, format);
        vsnprintf(buf->data + buf->size, (size_t)size + 1, format, arguments);
        va_end(arguments);
    }
    buf->size += (size_t)size;
    return LB_OK;
}
