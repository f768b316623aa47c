/* Plans: decoding and checking the description, and running its stages. plan.h has the format.
 *
 * IDEA    A stage is a sink with all that leads to it. From each input of the sink the nodes are walked back to
 *         their sources; where a union stands, the paths fork: each path is a leg. A node that stands on several legs
 *         or stages gets an operator of its own on each. Sinks are shared by all that read them, and closed when the last
 *         reader has run. */
#include "core/plan/plan.h"

#include "core/base/buf.h"
#include "core/base/sys.h"
#include "core/column/codec.h"
#include "core/ops/attempts.h"
#include "core/ops/params.h"
#include "core/ops/rejects.h"
#include "core/plan/plan_private.h"

enum { MOST_NODES = 100000, MOST_LEGS = 10000 };

/* ---- decoding ---- */

static lb_status wrong(const struct lb_plan *plan, uint32_t node, const char *what,
                       struct lb_error *err)
{
    const struct lb_op_class *class = plan->nodes[node].class;
    return lb_error_set(err, LB_ERR_INTERNAL, "plan node %u (%s): %s", node + 1,
                        class != NULL               ? class->name
                        : plan->nodes[node].is_when ? "when"
                                                    : "union",
                        what);
}

/* Up to a zero byte; free with lb_strfree. */
static char *copy_text(const struct lb_value *value)
{
    size_t size = strnlen(value->data, value->size);
    char *text = lb_alloc(size + 1);
    if (text != NULL) {
        memcpy(text, value->data, size);
        text[size] = '\0';
    }
    return text;
}

/* A list of numbers of earlier nodes. */
static lb_status decode_inputs(struct lb_plan *plan, uint32_t n, const char *key, uint32_t **inputs,
                               uint32_t *n_inputs, struct lb_error *err)
{
    struct lb_value list, item;
    if (!lb_value_field(&plan->nodes[n].params, key, &list))
        return LB_OK;
    if (list.tag != 'l')
        return wrong(plan, n, "inputs is no list", err);
    if (list.count == 0)
        return LB_OK;
    *inputs = lb_alloc_zero(list.count * sizeof **inputs);
    if (*inputs == NULL)
        return lb_error_memory(err, "a plan", list.count * sizeof **inputs);
    *n_inputs = list.count;
    const char *cursor = list.data;
    for (uint32_t i = 0; i < list.count; i++) {
        lb_codec_next(&cursor, &item);
        if (item.tag != 'i' || item.i < 1 || item.i > n)
            return wrong(plan, n, "an input is no earlier node", err);
        (*inputs)[i] = (uint32_t)(item.i - 1);
    }
    return LB_OK;
}

static lb_status decode_when(struct lb_plan *plan, uint32_t n, struct lb_error *err)
{
    struct lb_plan_node *node = &plan->nodes[n];
    struct lb_value sink, overflowed;
    if (node->n_inputs != 1 || !lb_value_field(&node->params, "sink", &sink) || sink.tag != 'i' ||
        sink.i < 1 || sink.i > n || !plan->nodes[sink.i - 1].is_sink)
        return wrong(plan, n, "names no sink", err);
    node->when_sink = (uint32_t)(sink.i - 1);
    node->overflowed =
        lb_value_field(&node->params, "overflowed", &overflowed) && overflowed.tag == 't';
    return LB_OK;
}

/* Whether input i of a node may be what it is. */
static lb_status check_input(const struct lb_plan *plan, uint32_t n, uint32_t i,
                             struct lb_error *err)
{
    const struct lb_plan_node *node = &plan->nodes[n];
    bool from_sink = plan->nodes[node->inputs[i]].is_sink;
    bool wants_sink;
    if (node->class == NULL || node->is_sink)
        wants_sink = false;
    else if (node->class->kind == LB_OP_SOURCE)
        wants_sink = true;
    else
        wants_sink = i > 0;
    if (from_sink != wants_sink)
        return wrong(plan, n, wants_sink ? "must stand on a sink" : "must not stand on a sink",
                     err);
    return LB_OK;
}

static lb_status decode_node(struct lb_plan *plan, uint32_t n, struct lb_error *err)
{
    struct lb_plan_node *node = &plan->nodes[n];
    struct lb_value value;
    if (node->params.tag != 'm' || !lb_value_field(&node->params, "op", &value) ||
        value.tag != 's' || memchr(value.data, '\0', value.size) != NULL)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan node %u has no op", n + 1);
    char *name = copy_text(&value);
    if (name == NULL)
        return lb_error_memory(err, "a plan", value.size);
    bool is_union = strcmp(name, "union") == 0;
    node->is_when = strcmp(name, "when") == 0;
    node->class = is_union || node->is_when ? NULL : lb_op_find(name);
    lb_status status = LB_OK;
    if (!is_union && !node->is_when && node->class == NULL)
        status = lb_error_set(err, LB_ERR_INTERNAL, "plan node %u: no operator '%s'", n + 1, name);
    lb_strfree(name);
    LB_TRY(status);
    node->is_sink = node->class != NULL && node->class->kind == LB_OP_SINK;
    if (lb_value_field(&node->params, "label", &value) && value.tag == 's')
        node->label = copy_text(&value);
    else
        node->label = lb_strdup(is_union ? "union" : node->is_when ? "when" : node->class->name);
    if (node->label == NULL)
        return lb_error_memory(err, "a plan", value.size);
    node->is_result = lb_value_field(&node->params, "result", &value) && value.tag == 't';
    LB_TRY(decode_inputs(plan, n, "inputs", &node->inputs, &node->n_inputs, err));
    if (node->n_inputs == 0 && (node->class == NULL || node->class->kind != LB_OP_SOURCE))
        return wrong(plan, n, "has no input", err);
    for (uint32_t i = 0; i < node->n_inputs; i++)
        LB_TRY(check_input(plan, n, i, err));
    if (node->is_sink)
        LB_TRY(decode_inputs(plan, n, "reads", &node->reads, &node->n_reads, err));
    for (uint32_t i = 0; i < node->n_reads; i++)
        if (!plan->nodes[node->reads[i]].is_sink)
            return wrong(plan, n, "must read a sink", err);
    return node->is_when ? decode_when(plan, n, err) : LB_OK;
}

/* ---- stages ---- */

static lb_status op_new(struct lb_plan *plan, uint32_t n, struct lb_op **out, struct lb_error *err)
{
    struct lb_plan_node *node = &plan->nodes[n];
    struct lb_op *op = lb_alloc_zero(sizeof *op);
    if (op == NULL)
        return lb_error_memory(err, "an operator", sizeof *op);
    *out = op;
    op->class = node->class;
    op->node = n + 1;
    op->params = node->params;
    op->label = node->label;
    op->handle = node->handle;
    uint32_t first = node->class->kind == LB_OP_TRANSFORM ? 1 : 0;
    const uint32_t *inputs = node->is_sink ? node->reads : node->inputs;
    uint32_t n_inputs = node->is_sink ? node->n_reads : node->n_inputs;
    if (n_inputs <= first)
        return LB_OK;
    op->inputs = lb_alloc_zero((n_inputs - first) * sizeof *op->inputs);
    if (op->inputs == NULL)
        return lb_error_memory(err, "an operator", sizeof *op);
    op->n_inputs = n_inputs - first;
    for (uint32_t i = 0; i < op->n_inputs; i++) {
        struct lb_plan_node *sink = &plan->nodes[inputs[first + i]];
        op->inputs[i] = plan->stages[sink->stage].run.sink;
        sink->last_reader = plan->n_stages;
    }
    return LB_OK;
}

static void op_delete(struct lb_op *op)
{
    if (op == NULL)
        return;
    lb_op_close(op);
    lb_buf_fini(&op->restart);
    lb_buf_fini(&op->facts);
    lb_file_list_fini(&op->files);
    lb_free(op->inputs, op->n_inputs * sizeof *op->inputs);
    lb_free(op, sizeof *op);
}

/* The way from a node to a sink, as a list: `next` is what it pushes to. A `when` on the way is no operator. */
struct path {
    uint32_t node;
    uint32_t length; /* operators */
    uint32_t n_conditions;
    const struct path *next;
};

static lb_status add_leg(struct lb_plan *plan, struct lb_stage *stage, const struct path *path,
                         struct lb_error *err)
{
    size_t size = stage->n_legs * sizeof *stage->legs;
    if (stage->n_legs == MOST_LEGS)
        return lb_error_set(err, LB_ERR_USAGE, "a union of more than %d parts", MOST_LEGS);
    struct lb_leg *legs = lb_realloc(stage->legs, size, size + sizeof *legs);
    if (legs == NULL)
        return lb_error_memory(err, "a plan", size);
    stage->legs = legs;
    struct lb_leg *leg = &legs[stage->n_legs];
    *leg = (struct lb_leg){.ops = lb_alloc_zero(path->length * sizeof *leg->ops),
                           .n_ops = path->length};
    if (leg->ops == NULL)
        return lb_error_memory(err, "a plan", path->length * sizeof *leg->ops);
    stage->n_legs++;
    if (path->n_conditions > 0) {
        leg->conditions = lb_alloc_zero(path->n_conditions * sizeof *leg->conditions);
        if (leg->conditions == NULL)
            return lb_error_memory(err, "a plan", path->n_conditions * sizeof *leg->conditions);
        leg->n_conditions = path->n_conditions;
    }
    for (uint32_t i = 0, c = 0; path != NULL; path = path->next) {
        const struct lb_plan_node *node = &plan->nodes[path->node];
        if (node->is_when)
            leg->conditions[c++] = (struct lb_condition){
                .sink = plan->stages[plan->nodes[node->when_sink].stage].run.sink,
                .overflowed = node->overflowed};
        else
            LB_TRY(op_new(plan, path->node, &leg->ops[i++], err));
    }
    return LB_OK;
}

/* Walks from a node back to the sources; every source found makes a leg. */
static lb_status find_legs(struct lb_plan *plan, struct lb_stage *stage, uint32_t n,
                           const struct path *rest, struct lb_error *err)
{
    const struct lb_plan_node *node = &plan->nodes[n];
    struct path path = {.node = n, .length = 0, .n_conditions = 0, .next = rest};
    if (rest != NULL) {
        path.length = rest->length;
        path.n_conditions = rest->n_conditions;
    }
    if (node->is_when) {
        path.n_conditions++;
        return find_legs(plan, stage, node->inputs[0], &path, err);
    }
    if (node->class == NULL) {
        for (uint32_t i = 0; i < node->n_inputs; i++)
            LB_TRY(find_legs(plan, stage, node->inputs[i], rest, err));
        return LB_OK;
    }
    path.length++;
    if (node->class->kind == LB_OP_SOURCE)
        return add_leg(plan, stage, &path, err);
    return find_legs(plan, stage, node->inputs[0], &path, err);
}

static lb_status build_stages(struct lb_plan *plan, struct lb_error *err)
{
    plan->stages = lb_alloc_zero(plan->n_nodes * sizeof *plan->stages);
    if (plan->stages == NULL)
        return lb_error_memory(err, "a plan", plan->n_nodes * sizeof *plan->stages);
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        struct lb_plan_node *node = &plan->nodes[n];
        if (!node->is_sink)
            continue;
        struct lb_plan_stage *stage = &plan->stages[plan->n_stages];
        stage->node = n;
        node->stage = node->last_reader = plan->n_stages;
        for (uint32_t i = 0; i < node->n_inputs; i++) {
            lb_status status = find_legs(plan, &stage->run, node->inputs[i], NULL, err);
            if (status != LB_OK) {
                plan->n_stages++; /* so that what is made is freed */
                return status;
            }
        }
        lb_status status = op_new(plan, n, &stage->run.sink, err);
        plan->n_stages++;
        LB_TRY(status);
    }
    return LB_OK;
}

static void free_stages(struct lb_plan *plan)
{
    for (uint32_t s = 0; plan->stages != NULL && s < plan->n_stages; s++) {
        struct lb_stage *stage = &plan->stages[s].run;
        for (uint32_t i = 0; i < stage->n_legs; i++) {
            for (uint32_t j = 0; j < stage->legs[i].n_ops; j++)
                op_delete(stage->legs[i].ops[j]);
            lb_free(stage->legs[i].conditions,
                    stage->legs[i].n_conditions * sizeof *stage->legs[i].conditions);
            lb_free(stage->legs[i].ops, stage->legs[i].n_ops * sizeof *stage->legs[i].ops);
        }
        lb_free(stage->legs, stage->n_legs * sizeof *stage->legs);
        op_delete(stage->sink);
    }
    lb_free(plan->stages, plan->n_nodes * sizeof *plan->stages);
    plan->stages = NULL;
    plan->n_stages = 0;
}

/* ---- the plan ---- */

static lb_status decode(struct lb_plan *plan, struct lb_error *err)
{
    struct lb_value root, nodes;
    const char *cursor = plan->data;
    LB_TRY(lb_codec_verify(plan->data, plan->size, err));
    lb_codec_next(&cursor, &root);
    if (root.tag != 'm' || !lb_value_field(&root, "nodes", &nodes) || nodes.tag != 'l' ||
        nodes.count == 0 || nodes.count > MOST_NODES)
        return lb_error_set(err, LB_ERR_INTERNAL, "plan: no nodes");
    plan->nodes = lb_alloc_zero(nodes.count * sizeof *plan->nodes);
    if (plan->nodes == NULL)
        return lb_error_memory(err, "a plan", nodes.count * sizeof *plan->nodes);
    plan->n_nodes = nodes.count;
    cursor = nodes.data;
    for (uint32_t n = 0; n < plan->n_nodes; n++)
        lb_codec_next(&cursor, &plan->nodes[n].params);
    for (uint32_t n = 0; n < plan->n_nodes; n++)
        LB_TRY(decode_node(plan, n, err));
    return build_stages(plan, err);
}

lb_status lb_plan_new(const char *data, size_t size, struct lb_plan **out, struct lb_error *err)
{
    struct lb_plan *plan = lb_alloc_zero(sizeof *plan);
    char *copy = lb_alloc(size);
    if (plan == NULL || copy == NULL) {
        lb_free(plan, sizeof *plan);
        lb_free(copy, size);
        return lb_error_memory(err, "a plan", size);
    }
    memcpy(copy, data, size);
    plan->data = copy;
    plan->size = size;
    lb_status status = decode(plan, err);
    if (status == LB_OK && plan->n_nodes > 0) {
        plan->results = lb_alloc_zero(plan->n_nodes * sizeof *plan->results);
        if (plan->results == NULL)
            status = lb_error_memory(err, "results", plan->n_nodes * sizeof *plan->results);
    }
    if (status != LB_OK) {
        lb_plan_delete(plan);
        return status;
    }
    *out = plan;
    return LB_OK;
}

void lb_plan_delete(struct lb_plan *plan)
{
    if (plan == NULL)
        return;
    free_stages(plan);
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        lb_strfree(plan->nodes[n].label);
        lb_free(plan->nodes[n].inputs, plan->nodes[n].n_inputs * sizeof *plan->nodes[n].inputs);
        lb_free(plan->nodes[n].reads, plan->nodes[n].n_reads * sizeof *plan->nodes[n].reads);
        lb_store_unref(plan->nodes[n].handle);
    }
    for (uint32_t i = 0; i < plan->n_results; i++)
        lb_store_unref(plan->results[i].store);
    lb_free(plan->results, plan->n_nodes * sizeof *plan->results);
    lb_free(plan->nodes, plan->n_nodes * sizeof *plan->nodes);
    lb_free(plan->data, plan->size);
    lb_free(plan, sizeof *plan);
}

lb_status lb_plan_add_handle(struct lb_plan *plan, int64_t handle, struct lb_store *store,
                             struct lb_error *err)
{
    struct lb_value value;
    for (uint32_t n = 0; n < plan->n_nodes; n++) {
        struct lb_plan_node *node = &plan->nodes[n];
        if (node->handle == NULL && lb_value_field(&node->params, "handle", &value) &&
            value.tag == 'i' && value.i == handle)
            node->handle = lb_store_ref(store);
    }
    /* The operators are made with the plan: tell them. */
    for (uint32_t s = 0; s < plan->n_stages; s++) {
        struct lb_stage *stage = &plan->stages[s].run;
        for (uint32_t i = 0; i < stage->n_legs; i++) {
            struct lb_op *source = stage->legs[i].ops[0];
            if (lb_value_field(&source->params, "handle", &value) && value.tag == 'i' &&
                value.i == handle)
                source->handle = store;
        }
    }
    (void)err;
    return LB_OK;
}

/* Cannot fail: the sink may have published a file by now. */
static void keep_result(struct lb_plan *plan, uint32_t n, const struct lb_op *sink)
{
    struct lb_store *store = lb_store_of_sink(sink);
    plan->results[plan->n_results++] =
        (struct lb_plan_result){.node = n + 1,
                                .store = store != NULL ? lb_store_ref(store) : NULL,
                                .n_rows = (int64_t)sink->n_result};
}

/* Closes the sinks that no stage after `stage` reads. */
static void close_read(struct lb_plan *plan, uint32_t stage)
{
    for (uint32_t s = 0; s <= stage; s++)
        if (plan->nodes[plan->stages[s].node].last_reader <= stage)
            lb_op_close(plan->stages[s].run.sink);
}

static lb_status list_paths(struct lb_plan *plan, struct lb_error *err)
{
    for (uint32_t s = 0; s < plan->n_stages; s++) {
        const struct lb_stage *stage = &plan->stages[s].run;
        for (uint32_t i = 0; i < stage->n_legs; i++)
            LB_TRY(lb_param_list_paths(stage->legs[i].ops[0], err));
    }
    return LB_OK;
}

static lb_status settle(void *run, struct lb_error *err)
{
    return lb_rejects_settle(run, true, err);
}

lb_status lb_plan_execute(struct lb_plan *plan, struct lb_run *run, struct lb_error *err)
{
    lb_status status = list_paths(plan, err);
    for (uint32_t s = 0; s < plan->n_stages && status == LB_OK; s++) {
        struct lb_plan_stage *stage = &plan->stages[s];
        run->stage = s + 1;
        run->n_stages = plan->n_stages;
        status = lb_run_stage(run, &stage->run, err);
        if (status == LB_OK && plan->nodes[stage->node].is_result)
            keep_result(plan, stage->node, stage->run.sink);
        if (status == LB_OK)
            close_read(plan, s);
    }
    for (uint32_t s = 0; s < plan->n_stages; s++)
        lb_op_close(plan->stages[s].run.sink);
    if (status != LB_OK && run->is_excess && run->options.attempts != NULL)
        lb_attempts_keep_rejects(run->options.attempts, lb_rejects_hand_over(run));
    if (status != LB_OK)
        (void)!lb_rejects_settle(run, false, err);
    else if (run->rejects != NULL)
        status = lb_run_aside(run, settle, run, err);
    /* Who gave up waiting says no more than that. */
    return status == LB_ERR_CANCELLED && lb_run_has_stopped(run, err) ? err->status : status;
}

bool lb_plan_restart(const struct lb_plan *plan, uint32_t *node, const char **data, size_t *size)
{
    for (uint32_t s = 0; s < plan->n_stages; s++) {
        const struct lb_stage *stage = &plan->stages[s].run;
        for (uint32_t i = 0; i < stage->n_legs; i++) {
            const struct lb_op *source = stage->legs[i].ops[0];
            if (source->restart.size > 0) {
                *node = source->node;
                *data = source->restart.data;
                *size = source->restart.size;
                return true;
            }
        }
    }
    return false;
}

uint32_t lb_plan_n_results(const struct lb_plan *plan)
{
    return plan->n_results;
}

struct lb_plan_result lb_plan_result(const struct lb_plan *plan, uint32_t i)
{
    return plan->results[i];
}

static lb_status describe_op(const struct lb_op *op, const char *arrow, struct lb_buf *out,
                             struct lb_error *err)
{
    bool has_label = strcmp(op->label, op->class->name) != 0;
    LB_TRY(lb_buf_printf(out, err, "  %s%-16s %-28s", arrow, op->class->name,
                         has_label ? op->label : ""));
    while (out->size > 0 && out->data[out->size - 1] == ' ')
        out->size--;
    return lb_buf_append_byte(out, '\n', err);
}

lb_status lb_plan_describe(const struct lb_plan *plan, struct lb_buf *out, struct lb_error *err)
{
    for (uint32_t s = 0; s < plan->n_stages; s++) {
        const struct lb_stage *stage = &plan->stages[s].run;
        LB_TRY(lb_buf_printf(out, err, "stage %u\n", s + 1));
        for (uint32_t i = 0; i < stage->n_legs; i++)
            for (uint32_t j = 0; j < stage->legs[i].n_ops; j++)
                LB_TRY(describe_op(stage->legs[i].ops[j], j == 0 ? "" : "| ", out, err));
        LB_TRY(describe_op(stage->sink, "=> ", out, err));
    }
    return LB_OK;
}
