/* A growable byte buffer. Zero-initialised is empty and valid; data is NULL until it grows. */
#ifndef LB_BASE_BUF_H
#define LB_BASE_BUF_H

#include <string.h>

#include "core/base/error.h"

struct lb_buf {
    char *data;
    size_t size;
    size_t capacity;
};

void lb_buf_fini(struct lb_buf *buf);
/* Makes room for `more` further bytes (amortised); data may move. */
lb_status lb_buf_grow(struct lb_buf *buf, size_t more, struct lb_error *err) LB_MUST_USE;
lb_status lb_buf_printf(struct lb_buf *buf, struct lb_error *err, const char *format, ...)
    LB_PRINTF(3, 4) LB_MUST_USE;

static inline lb_status lb_buf_reserve(struct lb_buf *buf, size_t more, struct lb_error *err)
{
    if (__builtin_expect(buf->capacity - buf->size >= more, 1))
        return LB_OK;
    return lb_buf_grow(buf, more, err);
}

LB_MUST_USE static inline lb_status lb_buf_append(struct lb_buf *buf, const void *data, size_t size,
                                                  struct lb_error *err)
{
    LB_TRY(lb_buf_reserve(buf, size, err));
    if (size > 0)
        memcpy(buf->data + buf->size, data, size);
    buf->size += size;
    return LB_OK;
}

LB_MUST_USE static inline lb_status lb_buf_append_byte(struct lb_buf *buf, char byte,
                                                       struct lb_error *err)
{
    LB_TRY(lb_buf_reserve(buf, 1, err));
    buf->data[buf->size++] = byte;
    return LB_OK;
}

#endif
