/* Where texts are cut. */
#include "../support/support.h"

#include "core/base/utf8.h"

static const char *const characters[] = {"a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};

/* Of a text of whole characters as many are left as there is room for. */
static void test_whole_characters(void **state)
{
    (void)state;
    random_start("test_utf8");
    for (int round = 0; round < 2000; round++) {
        char text[64];
        size_t size = 0, ends[16], n = 1;
        for (ends[0] = 0; n < 16; n++) {
            const char *character = characters[random_below(4)];
            memcpy(text + size, character, strlen(character));
            ends[n] = size += strlen(character);
        }
        for (size_t most = 0; most <= sizeof text; most++) {
            size_t wanted = 0;
            for (size_t i = 0; i < n; i++)
                wanted = ends[i] <= most ? ends[i] : wanted;
            assert_int_equal(lb_utf8_cut(text, size, most), wanted);
            assert_int_equal(lb_utf8_whole(text, most < size ? most : size), wanted);
        }
    }
}

static void test_other_bytes(void **state)
{
    (void)state;
    assert_int_equal(lb_utf8_cut("\x80\x80\x80\x80\x80\x80", 6, 5), 5);
    assert_int_equal(lb_utf8_cut("ab\x80\x80z", 5, 4), 4);
    assert_int_equal(lb_utf8_cut("a\xff\xff", 3, 2), 1);
    assert_int_equal(lb_utf8_cut("", 0, 5), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_characters),
        cmocka_unit_test(test_other_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
