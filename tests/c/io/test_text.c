/* The text kernels, every path of them, against naive loops. With the argument "bench" it measures.
 */
#include "core/io/text.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/io/text_kernels.h"
#include "random.h"

/* An input that ends, padding included, right at the end of its allocation. */
static char *padded(const char *data, size_t size)
{
    char *copy = malloc(size + LB_TEXT_PADDING);
    memcpy(copy, data, size);
    for (size_t i = 0; i < LB_TEXT_PADDING; i++)
        copy[size + i] = "\n x\r"[random_below(4)];
    return copy;
}

static void expect_view(const struct lb_view *view, const char *data, size_t size)
{
    struct lb_view wanted;
    lb_view_set(&wanted, data, size);
    assert_int_equal(view->size, size);
    assert_memory_equal(lb_view_data(view), data, size);
    if (size <= LB_VIEW_INLINE)
        assert_memory_equal(view, &wanted, sizeof wanted);
    else
        assert_ptr_equal(view->data, data);
    assert_memory_equal(view->prefix, wanted.prefix, 4);
}

/* Next line of [*cursor, end) as text.h says; false when there is none. */
static bool naive_line(const char **cursor, const char *end, bool at_end, const char **start,
                       size_t *size)
{
    const char *p = *cursor;
    while (p < end && *p != '\n')
        p++;
    if (p == end && (!at_end || p == *cursor))
        return false;
    *start = *cursor;
    *size = (size_t)(p - *cursor);
    if (*size > 0 && p[-1] == '\r')
        --*size;
    *cursor = p < end ? p + 1 : p;
    return true;
}

static bool naive_word(const char **cursor, const char *end, bool at_end, const char **start,
                       size_t *size)
{
    const char *p = *cursor;
    while (p < end && isspace((unsigned char)*p))
        p++;
    *cursor = p;
    while (p < end && !isspace((unsigned char)*p))
        p++;
    if (p == *cursor || (p == end && !at_end))
        return false;
    *start = *cursor;
    *size = (size_t)(p - *cursor);
    *cursor = p;
    return true;
}

typedef size_t cutter(const char **, const char *, bool, struct lb_view *, size_t);
typedef bool naive_cutter(const char **, const char *, bool, const char **, size_t *);

static void check_cut(cutter *cut, naive_cutter *naive, const char *data, size_t size, size_t max,
                      bool at_end)
{
    struct lb_view *views = malloc((max + 1) * sizeof *views);
    const char *cursor = data;
    const char *expected = data;
    const char *end = data + size;
    const char *start;
    size_t length;
    memset(&views[max], 0x5a, sizeof *views);
    for (;;) {
        size_t n = cut(&cursor, end, at_end, views, max);
        for (size_t i = 0; i < n; i++) {
            assert_true(naive(&expected, end, at_end, &start, &length));
            expect_view(&views[i], start, length);
        }
        if (n < max)
            break;
        assert_true(cursor <= end && cursor >= data);
    }
    assert_false(naive(&expected, end, at_end, &start, &length));
    /* What is left begins where the naive loop stopped. */
    assert_ptr_equal(cursor, expected);
    for (size_t i = 0; i < sizeof *views; i++)
        assert_int_equal(((char *)&views[max])[i], 0x5a);
    free(views);
}

/* Random text: bytes drawn from a few, in runs, so that long and short pieces occur. */
static size_t random_text(char *out, size_t limit)
{
    static const char *const alphabets[] = {"a \n", "ab\r\n", "abcdefghijklmnop qrst\n",
                                            " \t\n\v\f\r\x08\x0e\x1f\x21\x85\xa0\x00z",
                                            "abcdefghijklmnopqrstuvwxyz"};
    size_t which = random_below(5);
    size_t letters = which == 3 ? 14 : strlen(alphabets[which]);
    size_t size = random_below(limit + 1);
    size_t run = 1 + random_below(8) * random_below(20);
    for (size_t i = 0; i < size;) {
        char byte = random_below(50) == 0 ? (char)random_below(256)
                                          : alphabets[which][random_below(letters)];
        for (size_t k = random_below(run) + 1; k > 0 && i < size; k--)
            out[i++] = byte;
    }
    return size;
}

static void test_cut(void **state)
{
    (void)state;
    char text[9000];
    for (int round = 0; round < 600; round++) {
        size_t size = random_text(text, round % 10 == 0 ? sizeof text : 300);
        char *data = padded(text, size);
        for (int at_end = 0; at_end < 2; at_end++) {
            size_t max = round % 3 == 0 ? 1 : round % 3 == 1 ? 7 : 1 + random_below(3000);
            check_cut(lb_text_lines, naive_line, data, size, max, at_end);
            check_cut(lb_text_words, naive_word, data, size, max, at_end);
        }
        free(data);
    }
}

/* Every size around the block borders with one odd byte at every place. */
static void test_positions(void **state)
{
    (void)state;
    static const char odd[] = {'\n', ' ', '\r', 'x'};
    char text[200];
    for (size_t size = 0; size <= 140; size += size < 60 || size > 70 ? 7 : 1) {
        for (size_t at = 0; at <= size; at++) {
            for (size_t kind = 0; kind < sizeof odd; kind++) {
                memset(text, kind == 3 ? ' ' : 'x', sizeof text);
                text[at] = odd[kind];
                char *data = padded(text, size);
                check_cut(lb_text_lines, naive_line, data, size, 3, at & 1);
                check_cut(lb_text_words, naive_word, data, size, 3, at & 1);
                free(data);
            }
        }
    }
}

static bool naive_field(const char *line, size_t size, uint32_t n, struct lb_view *field)
{
    const char *cursor = line;
    const char *start;
    size_t length;
    while (naive_word(&cursor, line + size, true, &start, &length)) {
        if (--n == 0) {
            lb_view_set(field, start, length);
            return true;
        }
    }
    return false;
}

static bool naive_field_sep(const char *line, size_t size, uint32_t n, const char *sep,
                            size_t sep_size, struct lb_view *field)
{
    size_t start = 0;
    for (size_t i = 0;; i++) {
        bool hit = i + sep_size <= size && memcmp(line + i, sep, sep_size) == 0;
        if (hit || i >= size) {
            size_t end = hit ? i : size;
            if (--n == 0) {
                lb_view_set(field, line + start, end - start);
                return true;
            }
            if (!hit)
                return false;
            start = i + sep_size;
            i = start - 1;
        }
    }
}

static void test_fields(void **state)
{
    (void)state;
    static const char *const seps[] = {" ", "a", "ab", "\n", "aa", "aba"};
    char text[400];
    for (int round = 0; round < 6000; round++) {
        size_t size = random_text(text, round & 1 ? 400 : 90);
        char *line = malloc(size > 0 ? size : 1); /* exact: nothing may be read behind it */
        memcpy(line, text, size);
        uint32_t n = (uint32_t)random_below(round & 2 ? 12 : 120);
        struct lb_view got;
        struct lb_view wanted;
        bool expected = n > 0 && naive_field(line, size, n, &wanted);
        assert_int_equal(lb_text_field_blank(line, size, n, &got), expected);
        if (expected)
            expect_view(&got, lb_view_data(&wanted) == wanted.prefix ? wanted.prefix : wanted.data,
                        wanted.size);
        const char *sep = seps[random_below(6)];
        expected = n > 0 && naive_field_sep(line, size, n, sep, strlen(sep), &wanted);
        assert_int_equal(lb_text_field_sep(line, size, n, sep, strlen(sep), &got), expected);
        if (expected) {
            assert_int_equal(got.size, wanted.size);
            assert_memory_equal(&got, &wanted, sizeof got);
        }
        free(line);
    }
}

static void test_lower_and_count(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        size_t size = random_below(400);
        unsigned char *data = malloc(size + 1);
        unsigned char *out = malloc(size + 1);
        size_t newlines = 0;
        for (size_t i = 0; i < size; i++) {
            data[i] = random_below(9) == 0 ? '\n' : (unsigned char)random_below(256);
            newlines += data[i] == '\n';
        }
        assert_int_equal(lb_text_count_newlines((char *)data, size), newlines);
        lb_text_lower((char *)data, size, (char *)out);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(out[i], data[i] >= 'A' && data[i] <= 'Z' ? data[i] + 32 : data[i]);
        lb_text_lower((char *)data, size, (char *)data);
        assert_memory_equal(data, out, size);
        free(data);
        free(out);
    }
}

/* The padding is all that is read: what follows it is not mapped. */
static void test_page_end(void **state)
{
    (void)state;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *map = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + page, page, PROT_NONE), 0);
    struct lb_view views[100];
    for (size_t size = 0; size < 200; size++) {
        const char *end = map + page - LB_TEXT_PADDING;
        const char *cursor = end - size;
        memset(map, size & 1 ? 'x' : '\n', page);
        lb_text_lines(&cursor, end, true, views, 100);
        cursor = end - size;
        lb_text_words(&cursor, end, true, views, 100);
        lb_text_field_blank(map + page - size, size, 3, views);
        lb_text_field_sep(map + page - size, size, 3, "\n", 1, views);
        lb_text_count_newlines(map + page - size, size);
        lb_text_lower(map + page - size, size, map + page - size);
    }
    munmap(map, 2 * page);
}

/* CPU seconds: other processes do not count. */
static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void bench(enum lb_simd simd)
{
    enum { SIZE = 32 << 20 };
    char *text = malloc(SIZE + 64);
    char *log = malloc(SIZE + 64);
    static struct lb_view views[2048];
    if (!lb_text_set_simd(simd))
        return;
    for (size_t i = 0; i < SIZE;) {
        for (size_t k = 2 + random_below(9); k > 0 && i < SIZE; k--)
            text[i++] = (char)('a' + random_below(26));
        if (i < SIZE)
            text[i++] = random_below(10) == 0 ? '\n' : ' ';
    }
    memset(text + SIZE, 0, 64);
    size_t n_lines = 0;
    size_t at = 0;
    while (at + 200 < SIZE) {
        at += (size_t)sprintf(log + at,
                              "10.0.%zu.%zu - - [10/Oct/2023:13:55:%02zu +0000] \"GET "
                              "/page/%zu/item HTTP/1.1\" 200 %zu\n",
                              random_below(256), random_below(256), random_below(60),
                              random_below(100000), random_below(50000));
        n_lines++;
    }
    memset(log + at, 0, 64);
    double best[4] = {1e9, 1e9, 1e9, 1e9};
    size_t n_words = 0;
    uint64_t sum = 0;
    for (int round = 0; round < 5; round++) {
        const char *cursor = text;
        double start = now();
        size_t n;
        n_words = 0;
        while ((n = lb_text_words(&cursor, text + SIZE, true, views, 2048)) > 0)
            n_words += n;
        double time = now() - start;
        best[0] = time < best[0] ? time : best[0];
        cursor = log;
        start = now();
        while ((n = lb_text_lines(&cursor, log + at, true, views, 2048)) > 0)
            ;
        time = now() - start;
        best[1] = time < best[1] ? time : best[1];
        double field_time = 0;
        cursor = log;
        while ((n = lb_text_lines(&cursor, log + at, true, views, 2048)) > 0) {
            start = now();
            for (size_t i = 0; i < n; i++) {
                struct lb_view field;
                lb_text_field_blank(lb_view_data(&views[i]), views[i].size, 7, &field);
                sum += field.size;
            }
            field_time += now() - start;
        }
        best[2] = field_time < best[2] ? field_time : best[2];
        start = now();
        sum += lb_text_count_newlines(log, at);
        time = now() - start;
        best[3] = time < best[3] ? time : best[3];
    }
    printf("%-7s words %.2f ns/word (%.1f bytes each)  lines %.1f GB/s (%zu bytes each)  field 7 "
           "%.1f ns  count %.1f GB/s  [%llu]\n",
           lb_simd_name(simd), best[0] / (double)n_words * 1e9, (double)SIZE / (double)n_words,
           (double)at / best[1] * 1e-9, at / n_lines, best[2] / (double)n_lines * 1e9,
           (double)at / best[3] * 1e-9, (unsigned long long)sum);
    free(text);
    free(log);
}

int main(int argc, char **argv)
{
    random_start("test_text");
    if (argc > 1 && strcmp(argv[1], "bench") == 0) {
        for (int simd = 0; simd < LB_N_SIMDS; simd++)
            bench((enum lb_simd)simd);
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut),      cmocka_unit_test(test_positions),
        cmocka_unit_test(test_fields),   cmocka_unit_test(test_lower_and_count),
        cmocka_unit_test(test_page_end),
    };
    int failed = 0;
    for (int simd = 0; simd < LB_N_SIMDS; simd++) {
        if (lb_text_set_simd((enum lb_simd)simd))
            failed +=
                cmocka_run_group_tests_name(lb_simd_name((enum lb_simd)simd), tests, NULL, NULL);
    }
    return failed != 0;
}
