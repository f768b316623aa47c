/* The text kernels by instruction set: inside the room only. text.h has the contracts; text_body.h
 * is the one body that every path compiles with its own masks. */
#ifndef LB_IO_TEXT_KERNELS_H
#define LB_IO_TEXT_KERNELS_H

#include "core/io/csv.h"
#include "core/io/json.h"
#include "core/io/text.h"

/* ORDER simd: ascending, so that a machine which has one has those before it (of its family). */
enum lb_simd { LB_SIMD_SWAR, LB_SIMD_SSE2, LB_SIMD_AVX2, LB_SIMD_AVX512, LB_N_SIMDS };

struct lb_text_kernels {
    size_t (*lines)(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                    size_t max);
    size_t (*words)(const char **cursor, const char *end, bool at_end, struct lb_view *views,
                    size_t max);
    bool (*field_blank)(const char *line, size_t size, uint32_t n, struct lb_view *field);
    bool (*field_byte)(const char *line, size_t size, uint32_t n, char sep, struct lb_view *field);
    void (*lower)(const char *data, size_t size, char *out);
    size_t (*count_newlines)(const char *data, size_t size);
    void (*csv_index)(const char *data, size_t size, char separator, int quote,
                      struct lb_csv_index *index);
    size_t (*csv_last_end)(const char *data, size_t size, int quote, bool *is_inside);
    size_t (*count_bytes)(const char *data, size_t size, char byte);
    void (*json_index)(const char *data, size_t size, bool in_lines, struct lb_json_index *index);
};

/* The kind of the mark that is this byte. */
extern const char lb_json_kinds[256];

extern const struct lb_text_kernels lb_text_swar;
#ifdef __x86_64__
extern const struct lb_text_kernels lb_text_sse2;
extern const struct lb_text_kernels lb_text_avx2;
extern const struct lb_text_kernels lb_text_avx512;
#endif

/* The path in use. */
const struct lb_text_kernels *lb_text_kernels_in_use(void);
/* Makes this path the one in use; false when the machine lacks it. For tests and benchmarks: the
 * program's own choice is the best path, or the one that LB_SIMD=swar|sse2|avx2|avx512 names
 * ("portable" is swar). Not while other threads are in a kernel. */
bool lb_text_set_simd(enum lb_simd simd);
const char *lb_simd_name(enum lb_simd simd);

#endif
