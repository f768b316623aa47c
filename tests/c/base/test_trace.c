/* Traces stay within their size and lose no time; the stopwatch gives each place its own time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/meter.h"
#include "core/base/trace.h"

static void few_events_stay_as_they_are(void **state)
{
    (void)state;
    struct lb_trace trace;
    struct lb_error err;
    assert_int_equal(lb_trace_init(&trace, &err), LB_OK);
    for (uint64_t i = 0; i < 3; i++)
        lb_trace_add(&trace, &(struct lb_trace_event){10 * i, 10 * i + 10, 1, 1, 1, i});
    assert_int_equal(trace.n, 3);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(trace.events[i].start_ns, 10 * i);
        assert_int_equal(trace.events[i].n, i);
    }
    lb_trace_fini(&trace);
}

/* Many events of a few stages: all pieces and records are still there, in order, and stages are not mixed. */
static void many_events_are_joined(void **state)
{
    (void)state;
    enum { STAGES = 3, EACH = 20000, LONG = 5000000 };
    struct lb_trace trace;
    struct lb_error err;
    assert_int_equal(lb_trace_init(&trace, &err), LB_OK);
    uint64_t now = 1, seed = 12345;
    for (uint32_t stage = 1; stage <= STAGES; stage++) {
        for (int i = 0; i < EACH; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t stop = now + (seed >> 33) % LONG;
            lb_trace_add(&trace, &(struct lb_trace_event){now, stop, stage, 1, 1, stage});
            assert_true(trace.n <= trace.capacity);
            now = stop + 100;
        }
    }
    uint64_t pieces[STAGES + 1] = {0}, records[STAGES + 1] = {0}, last = 0;
    for (size_t i = 0; i < trace.n; i++) {
        const struct lb_trace_event *event = &trace.events[i];
        assert_true(event->start_ns >= last && event->stop_ns >= event->start_ns);
        last = event->stop_ns;
        pieces[event->stage] += event->n_pieces;
        records[event->stage] += event->n;
    }
    for (uint32_t stage = 1; stage <= STAGES; stage++) {
        assert_int_equal(pieces[stage], EACH);
        assert_int_equal(records[stage], EACH * stage);
    }
    assert_int_equal(trace.events[0].start_ns, 1);
    lb_trace_fini(&trace);
}

static void spend(uint64_t ns)
{
    for (uint64_t start = lb_clock_ns(); lb_clock_ns() - start < ns;)
        ;
}

static void a_place_has_its_own_time(void **state)
{
    (void)state;
    enum { MS = 1000000 };
    struct lb_times outer = {0}, inner = {0};
    uint64_t start = lb_clock_ns();
    struct lb_meter_place none = lb_meter_enter(&outer, LB_TIME_C);
    assert_null(none.times);
    spend(2 * MS);
    struct lb_meter_place before = lb_meter_enter(&inner, LB_TIME_LUA);
    spend(MS);
    struct lb_meter_place lua = lb_meter_enter_spill();
    spend(MS);
    lb_meter_leave_spill(lua, 100, 10);
    lb_meter_leave(before);
    spend(MS);
    lb_meter_leave(none);
    uint64_t all = lb_clock_ns() - start;
    assert_true(outer.ns[LB_TIME_C] >= 3 * MS && inner.ns[LB_TIME_LUA] >= MS);
    assert_true(inner.ns[LB_TIME_SPILL] >= MS && outer.ns[LB_TIME_SPILL] == 0);
    assert_true(outer.ns[LB_TIME_C] + inner.ns[LB_TIME_LUA] + inner.ns[LB_TIME_SPILL] <= all);
    assert_int_equal(inner.written_bytes, 100);
    assert_int_equal(inner.read_bytes, 10);
    /* Outside of any place nothing is counted, nor does it fail. */
    lb_meter_leave_spill(lb_meter_enter_spill(), 1, 1);
    assert_int_equal(inner.written_bytes, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_events_stay_as_they_are),
        cmocka_unit_test(many_events_are_joined),
        cmocka_unit_test(a_place_has_its_own_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
