/* Text kernels: find lines, words and fields in bytes. Portable SWAR/SSE2 code with AVX2/AVX-512
 * paths chosen at run time.
 *
 * The inputs of lb_text_lines and lb_text_words must have LB_TEXT_PADDING readable bytes after
 * their end; the other functions read nothing but what they are given, so any string will do. A
 * blank is one of the six bytes of C isspace: space \t \n \v \f \r. Thread-safe. */
#ifndef LB_IO_TEXT_H
#define LB_IO_TEXT_H

#include "core/column/batch.h"

enum { LB_TEXT_PADDING = 64 };

/* Cuts [*cursor, end) at newlines into at most max views, moving *cursor behind the last newline
 * used. A '\r' just before the newline is cut off. at_end: bytes after the last newline are a line
 * too (also cut of a final '\r'). Without at_end an unfinished line stays. Returns the number of
 * views. */
size_t lb_text_lines(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                     size_t max);

/* Cuts [*cursor, end) into words: maximal runs of non-blanks. Without at_end a word that touches
 * end stays (cursor is left at its start). Views point into the input. */
size_t lb_text_words(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                     size_t max);

/* The n-th (1-based) field of one line, fields being runs of non-blanks as in awk. False: too few.
 * */
bool lb_text_field_blank(const char *line, size_t size, uint32_t n, struct lb_view *field);
/* The n-th field between separators (a plain string of sep_size >= 1 bytes; empty fields count). */
bool lb_text_field_sep(const char *line, size_t size, uint32_t n, const char *sep, size_t sep_size,
                       struct lb_view *field);

/* ASCII lower case (as string.lower in the C locale); out has size bytes and may be data. */
void lb_text_lower(const char *data, size_t size, char *out);
/* Number of '\n' in data. */
size_t lb_text_count_newlines(const char *data, size_t size);

#endif
