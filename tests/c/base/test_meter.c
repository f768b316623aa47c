/* Where a thread's time goes: nested places share it without rest, and the collector's is counted where it is wanted. */
#include "../support/support.h"

#include <time.h>

#include "core/base/meter.h"

static void pass(unsigned ms)
{
    uint64_t until = lb_clock_ns() + ms * 1000000u;
    while (lb_clock_ns() < until)
        ;
}

static void nested_places_share_the_time(void **state)
{
    (void)state;
    struct lb_times outer = {0}, inner = {0};
    uint64_t start = lb_clock_ns();
    struct lb_meter_place before = lb_meter_enter(&outer, LB_TIME_C);
    pass(2);
    struct lb_meter_place user = lb_meter_enter(NULL, LB_TIME_LUA);
    pass(4);
    struct lb_meter_place next = lb_meter_enter(&inner, LB_TIME_C);
    pass(6);
    lb_meter_leave(next);
    struct lb_meter_place spill = lb_meter_enter_spill();
    pass(3);
    lb_meter_leave_spill(spill, 100, 20);
    lb_meter_leave(user);
    lb_meter_leave(before);
    uint64_t all = lb_clock_ns() - start, sum = 0;
    for (int i = 0; i < LB_N_TIMES; i++)
        sum += outer.ns[i] + inner.ns[i];
    assert_true(outer.ns[LB_TIME_C] >= 2000000 && outer.ns[LB_TIME_LUA] >= 4000000);
    assert_true(outer.ns[LB_TIME_SPILL] >= 3000000 && inner.ns[LB_TIME_C] >= 6000000);
    assert_true(outer.ns[LB_TIME_WAIT] == 0 && inner.ns[LB_TIME_LUA] == 0);
    assert_true(sum <= all && sum >= 15000000);
    assert_int_equal(outer.written_bytes, 100);
    assert_int_equal(outer.read_bytes, 20);
}

static void the_collector_is_counted_where_wanted(void **state)
{
    (void)state;
    for (int wanted = 0; wanted < 2; wanted++) {
        struct lb_times times = {0};
        lb_meter_count_gc(wanted != 0);
        struct lb_meter_place before = lb_meter_enter(&times, LB_TIME_LUA);
        struct lb_meter_place user = lb_meter_enter_gc();
        pass(2);
        lb_meter_leave_gc(user);
        pass(1);
        lb_meter_leave(before);
        assert_true(times.ns[LB_TIME_GC] >= (wanted ? 2000000u : 0u));
        assert_true(times.ns[LB_TIME_LUA] >= (wanted ? 1000000u : 3000000u));
        assert_true(wanted || times.ns[LB_TIME_GC] == 0);
    }
    /* Nobody asks where the time of this thread goes. */
    struct lb_meter_place nobody = lb_meter_enter_gc();
    assert_null(nobody.times);
    lb_meter_leave_gc(nobody);
    lb_meter_count_gc(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nested_places_share_the_time),
        cmocka_unit_test(the_collector_is_counted_where_wanted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
