/* Cutting texts: no character of UTF-8 is shown in part. Bytes that are not UTF-8 may be cut anywhere. */
#ifndef LB_BASE_UTF8_H
#define LB_BASE_UTF8_H

#include <stddef.h>

/* How many of the bytes are left without a last character that lacks its end. */
static inline size_t lb_utf8_whole(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char c = (unsigned char)text[size - back];
        size_t n = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        if (c < 0x80 || c >= 0xc0)
            return n > back ? size - back : size;
    }
    return size;
}

/* How many bytes are shown of a text where there is room for `most`. */
static inline size_t lb_utf8_cut(const char *text, size_t size, size_t most)
{
    return size <= most ? size : lb_utf8_whole(text, most);
}

#endif
