/* Text made safe for a terminal, character by character: what data holds must not move the cursor, change colours or turn the
 * direction of writing. Control characters, bytes that are not UTF-8 and invisible characters that change their neighbours become
 * escapes; the width is counted in cells (two for wide characters, none for combining ones), by the tables of the C library. */
#ifndef LB_BASE_PRINTABLE_H
#define LB_BASE_PRINTABLE_H

#include "core/base/buf.h"

struct lb_printable {
    char text[12]; /* what stands for the character */
    size_t size;   /* bytes of text */
    int width;     /* in cells */
};

/* What stands for the character at text, of which there are size > 0 bytes. The result: how many of them it takes. Thread-safe. */
size_t lb_printable_next(const char *text, size_t size, struct lb_printable *piece);

/* Makes what stands from `from` on in the buffer safe. Newlines and tabs, which order lines and columns, stay. */
lb_status lb_printable_lines(struct lb_buf *buffer, size_t from, struct lb_error *err) LB_MUST_USE;

#endif
