/* Byte sets at every kernel level, against loops over single bytes. */
#include "../support/support.h"

#include <sys/mman.h>
#include <unistd.h>

#include "core/algo/byteset.h"

enum { ROOM = 400 };

/* Text that ends where no memory follows, so that reading on crashes. */
static char *text_end;

static int map_text(void **state)
{
    long page = sysconf(_SC_PAGESIZE);
    char *pages =
        mmap(NULL, 3 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    (void)state;
    assert_true(pages != MAP_FAILED);
    assert_int_equal(mprotect(pages + 2 * page, (size_t)page, PROT_NONE), 0);
    text_end = pages + 2 * page;
    random_start("byteset");
    return 0;
}

static void random_set(struct lb_byteset *set)
{
    uint64_t bits[4];
    uint64_t shape = random_below(6);
    for (int i = 0; i < 4; i++) {
        bits[i] = random_bits() & random_bits();
        if (shape == 0)
            bits[i] = ~bits[i];
        if (shape == 1)
            bits[i] = 0;
        if (shape == 2)
            bits[i] = ~0ULL;
    }
    if (shape <= 2 && random_below(3) != 0)
        bits[random_below(4)] ^= (uint64_t)1 << random_below(64);
    lb_byteset_init(set, bits);
    for (int byte = 0; byte < 256; byte++)
        assert_int_equal(set->member[byte], bits[byte / 64] >> (byte % 64) & 1);
}

/* size bytes just in front of text_end, in runs of members and of others. */
static const char *random_text(const struct lb_byteset *set, size_t size)
{
    char *text = text_end - size;
    uint32_t run = 0;
    bool wanted = false;
    for (size_t i = 0; i < size; i++) {
        if (run-- == 0) {
            run = random_below(random_below(5) == 0 ? 200 : 12);
            wanted = random_below(2);
        }
        for (int tries = 0; tries < 20; tries++) {
            text[i] = (char)random_below(256);
            if (set->member[(uint8_t)text[i]] == wanted)
                break;
        }
    }
    return text;
}

static const char *naive_scan(const struct lb_byteset *set, const char *s, bool wanted)
{
    while (s < text_end && set->member[(uint8_t)*s] != wanted)
        s++;
    return s;
}

static void check_scans(const struct lb_byteset *set, const char *text)
{
    size_t size = (size_t)(text_end - text);
    size_t from = random_below((uint32_t)size + 1);
    const char *s = text + from;
    assert_ptr_equal(lb_byteset_skip(set, s, text_end), naive_scan(set, s, false));
    assert_ptr_equal(lb_byteset_seek(set, s, text_end), naive_scan(set, s, true));
    size_t n = size - from < 64 ? size - from : 64;
    uint64_t expected = 0;
    for (size_t i = 0; i < n; i++)
        expected |= (uint64_t)set->member[(uint8_t)s[i]] << i;
    assert_true(lb_byteset_mask(set, s, n) == expected);
}

static void check_runs(const struct lb_byteset *set, const char *text)
{
    struct lb_runs runs;
    const char *start, *stop;
    const char *s = naive_scan(set, text, true);
    lb_runs_init(&runs, set, text, text_end);
    while (s < text_end) {
        assert_true(lb_runs_next(&runs, &start, &stop));
        assert_ptr_equal(start, s);
        s = naive_scan(set, s, false);
        assert_ptr_equal(stop, s);
        s = naive_scan(set, s, true);
    }
    assert_false(lb_runs_next(&runs, &start, &stop));
    assert_false(lb_runs_next(&runs, &start, &stop));
}

static void test_scans(void **state)
{
    (void)state;
    for (int level = 0; level <= 2; level++) {
        lb_byteset_limit_kernels(level);
        for (int i = 0; i < 5000; i++) {
            struct lb_byteset set;
            random_set(&set);
            const char *text = random_text(&set, random_below(i % 2 ? ROOM : 70));
            check_scans(&set, text);
            check_runs(&set, text);
        }
    }
}

static const char *naive_find(const char *s, const char *needle, size_t size)
{
    for (; (size_t)(text_end - s) >= size; s++) {
        if (memcmp(s, needle, size) == 0)
            return s;
    }
    return NULL;
}

static void test_find(void **state)
{
    (void)state;
    for (int level = 0; level <= 2; level++) {
        lb_byteset_limit_kernels(level);
        for (int i = 0; i < 20000; i++) {
            size_t size = random_below(i % 2 ? ROOM : 20);
            char *text = text_end - size;
            char needle[8];
            size_t needle_size = random_below(sizeof needle + 1);
            for (size_t j = 0; j < size; j++)
                text[j] = random_below(i % 5 == 0 ? 2 : 6) == 0 ? 'b' : 'a';
            for (size_t j = 0; j < needle_size; j++)
                needle[j] = random_below(4) == 0 ? 'b' : 'a';
            assert_ptr_equal(lb_bytes_find(text, text_end, needle, needle_size),
                             naive_find(text, needle, needle_size));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scans),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, map_text, NULL);
}
