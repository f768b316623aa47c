/* Aggregates: any split of the rows into partials gives the result of a plain fold. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/algo/aggregate.h"
#include "core/column/builder.h"

static uint64_t random_state;
static struct lb_error err;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

struct number {
    bool is_float;
    int64_t i;
    double d;
};

static struct number numbers[500];
static size_t n_numbers;

/* Sends the numbers, all of one group, through partials of random sizes; result is one encoded
 * value. */
static lb_status aggregate_all(const struct lb_aggregate_class *class, struct lb_buf *result)
{
    struct lb_aggregate worker = {.class = class};
    struct lb_aggregate final = {.class = class};
    struct lb_group_entry entry = {.kind = LB_KIND_INT};
    struct lb_group_entry *found[LB_BATCH_ROWS];
    struct lb_buf partial = {0};
    bool loaded = false;
    lb_status status = LB_OK;
    assert_int_equal(class->open(&worker, &err), LB_OK);
    assert_int_equal(class->open(&final, &err), LB_OK);
    for (size_t at = 0; at < n_numbers && status == LB_OK;) {
        struct lb_builder key;
        struct lb_builder value;
        lb_builder_init(&key);
        lb_builder_init(&value);
        uint32_t n = 0;
        uint32_t wanted = 1 + (uint32_t)(next_random() % 20);
        for (; n < wanted && n < LB_BATCH_ROWS && at < n_numbers; n++, at++) {
            assert_int_equal(lb_builder_int(&key, 1, &err), LB_OK);
            if (numbers[at].is_float)
                assert_int_equal(lb_builder_float(&value, numbers[at].d, &err), LB_OK);
            else
                assert_int_equal(lb_builder_int(&value, numbers[at].i, &err), LB_OK);
            found[n] = &entry;
        }
        struct lb_column columns[2] = {lb_builder_finish(&key), lb_builder_finish(&value)};
        struct lb_batch batch = {.n_rows = n, .n_columns = 2, .n_selected = n, .columns = columns};
        status = class->update(&worker, found, &batch, &err);
        lb_builder_fini(&key);
        lb_builder_fini(&value);
        if (status == LB_OK && (next_random() % 3 == 0 || at == n_numbers)) {
            partial.size = 0;
            assert_int_equal(class->save(&worker, &entry, &partial, &err), LB_OK);
            status =
                (loaded ? class->merge : class->load)(&final, partial.data, partial.size, &err);
            loaded = true;
            class->reset(&worker);
            entry.state = 0;
            entry.state_kind = 0;
        }
    }
    uint32_t n_values = 9;
    result->size = 0;
    assert_int_equal(status, LB_OK);
    assert_int_equal(class->result(&final, result, &n_values, &err), LB_OK);
    assert_int_equal(n_values, class == &lb_aggregate_none ? 0 : 1);
    class->close(&worker);
    class->close(&final);
    lb_buf_fini(&partial);
    return status;
}

static struct lb_value decoded(const struct lb_buf *buf)
{
    struct lb_value value;
    const char *cursor = buf->data;
    lb_codec_next(&cursor, &value);
    return value;
}

static void test_kernels(void **state)
{
    (void)state;
    struct lb_buf out = {0};
    for (int round = 0; round < 300; round++) {
        int floats = (int)(next_random() % 3); /* none, some, all */
        n_numbers = 1 + next_random() % 300;
        uint64_t sum = 0;
        bool any_float = false;
        long double total = 0;
        struct number least = {0};
        struct number most = {0};
        for (size_t i = 0; i < n_numbers; i++) {
            struct number *number = &numbers[i];
            number->is_float = floats == 2 || (floats == 1 && next_random() % 2);
            number->i = (int64_t)next_random() >> (next_random() % 60);
            number->d = (double)((int64_t)next_random() >> (next_random() % 60)) / 8;
            if (floats == 1)
                number->i >>= 12;
            long double value = number->is_float ? (long double)number->d : (long double)number->i;
            if (!number->is_float)
                sum += (uint64_t)number->i;
            any_float = any_float || number->is_float;
            total += value;
            long double low = least.is_float ? (long double)least.d : (long double)least.i;
            long double high = most.is_float ? (long double)most.d : (long double)most.i;
            if (i == 0 || value < low || (value == low && !number->is_float))
                least = *number;
            if (i == 0 || value > high || (value == high && !number->is_float))
                most = *number;
        }
        aggregate_all(&lb_aggregate_none, &out);
        assert_int_equal(out.size, 0);
        aggregate_all(&lb_aggregate_count, &out);
        assert_int_equal(decoded(&out).tag, 'i');
        assert_int_equal(decoded(&out).i, n_numbers);
        aggregate_all(&lb_aggregate_first, &out);
        assert_int_equal(decoded(&out).tag, numbers[0].is_float ? 'd' : 'i');
        if (numbers[0].is_float)
            assert_true(decoded(&out).d == numbers[0].d);
        else
            assert_int_equal(decoded(&out).i, numbers[0].i);
        const struct number *extremes[2] = {&least, &most};
        for (int i = 0; i < 2; i++) {
            aggregate_all(i == 0 ? &lb_aggregate_min : &lb_aggregate_max, &out);
            assert_int_equal(decoded(&out).tag, extremes[i]->is_float ? 'd' : 'i');
            if (extremes[i]->is_float)
                assert_true(decoded(&out).d == extremes[i]->d);
            else
                assert_int_equal(decoded(&out).i, extremes[i]->i);
        }
        aggregate_all(&lb_aggregate_sum, &out);
        struct lb_value value = decoded(&out);
        assert_int_equal(value.tag, any_float ? 'd' : 'i');
        if (!any_float)
            assert_int_equal((uint64_t)value.i, sum);
        else
            assert_true(fabsl((long double)value.d - total) <= 1e-14L * fabsl(total) + 1e4L);
        struct lb_buf again = {0};
        aggregate_all(&lb_aggregate_sum, &again);
        assert_int_equal(out.size, again.size);
        assert_memory_equal(out.data, again.data, out.size);
        lb_buf_fini(&again);
    }
    lb_buf_fini(&out);
}

static void test_special(void **state)
{
    (void)state;
    struct lb_buf out = {0};
    n_numbers = 4;
    numbers[0] = (struct number){.is_float = true, .d = NAN};
    numbers[1] = (struct number){.is_float = true, .d = 1.0};
    numbers[2] = (struct number){.i = 1};
    numbers[3] = (struct number){.is_float = true, .d = -0.5};
    aggregate_all(&lb_aggregate_max, &out);
    assert_int_equal(decoded(&out).tag, 'i');
    assert_int_equal(decoded(&out).i, 1);
    aggregate_all(&lb_aggregate_min, &out);
    assert_true(decoded(&out).d == -0.5);
    aggregate_all(&lb_aggregate_sum, &out);
    assert_true(isnan(decoded(&out).d));
    n_numbers = 1;
    aggregate_all(&lb_aggregate_min, &out);
    assert_true(isnan(decoded(&out).d));
    lb_buf_fini(&out);
}

static void test_not_a_number(void **state)
{
    (void)state;
    const struct lb_aggregate_class *classes[] = {&lb_aggregate_sum, &lb_aggregate_min,
                                                  &lb_aggregate_max};
    for (int i = 0; i < 3; i++) {
        struct lb_aggregate worker = {.class = classes[i]};
        struct lb_group_entry entry = {.kind = LB_KIND_INT};
        struct lb_group_entry *found[1] = {&entry};
        struct lb_view view;
        int64_t key = 1;
        lb_view_set(&view, "12", 2);
        struct lb_column columns[2] = {{.type = LB_INT64, .ints = &key},
                                       {.type = LB_STRING, .views = &view}};
        struct lb_batch batch = {.n_rows = 1, .n_columns = 2, .n_selected = 1, .columns = columns};
        assert_int_equal(classes[i]->open(&worker, &err), LB_OK);
        assert_int_equal(classes[i]->update(&worker, found, &batch, &err), LB_ERR_DATA);
        assert_string_equal(err.message, "not a number");
        columns[1].type = LB_NULL;
        assert_int_equal(classes[i]->update(&worker, found, &batch, &err), LB_ERR_DATA);
        batch.n_columns = 1;
        assert_int_equal(classes[i]->update(&worker, found, &batch, &err), LB_ERR_DATA);
        classes[i]->close(&worker);
    }
}

int main(void)
{
    const char *seed = getenv("LB_SEED");
    random_state = seed != NULL ? strtoull(seed, NULL, 10) : 88172645463325252ULL;
    print_message("LB_SEED=%llu\n", (unsigned long long)random_state);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
