/* What plan.c and metrics.c share of a plan. */
#ifndef LB_PLAN_PLAN_PRIVATE_H
#define LB_PLAN_PLAN_PRIVATE_H

#include "core/plan/plan.h"

struct lb_plan_node {
    const struct lb_op_class *class; /* NULL: a union or when */
    bool is_when;
    bool overflowed;    /* when: the leg runs if the sink did, or if it did not */
    uint32_t when_sink; /* when: 0-based number of the sink */
    uint32_t *reads;    /* sinks: 0-based numbers of earlier sinks that it reads */
    uint32_t n_reads;
    struct lb_value params;
    char *label;
    uint32_t *inputs; /* 0-based */
    uint32_t n_inputs;
    bool is_result;
    bool is_sink;
    struct lb_store *handle; /* shares; scan.store of a kept store */
    uint32_t stage;          /* sinks: number of their stage */
    uint32_t last_reader;    /* sinks: number of the last stage that reads it; its own if none */
};

struct lb_plan_stage {
    struct lb_stage run; /* what exec sees */
    uint32_t node;       /* the sink */
};

struct lb_plan {
    char *data;
    size_t size;
    struct lb_plan_node *nodes;
    uint32_t n_nodes;
    struct lb_plan_stage *stages;
    uint32_t n_stages;
    struct lb_plan_result *results; /* stores are shared by the plan */
    uint32_t n_results;
};

#endif
