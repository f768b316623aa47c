/* The sources scan.join_hash and scan.join_insert, which make the index of the table that join_build leaves, in parallel: a morsel is
 * a block of rows to be hashed, then a part of the index. */
#include "core/base/sys.h"
#include "core/ops/join_build.h"
#include "core/ops/ops.h"

struct index_shared {
    struct lb_join_build *build; /* borrowed */
    uint32_t next;               /* guarded by the stage's lock */
};

static lb_status index_open(struct lb_op *self, struct lb_error *err)
{
    struct index_shared *shared = self->shared = lb_alloc_zero(sizeof *shared);
    if (shared == NULL)
        return lb_error_memory(err, self->label, sizeof *shared);
    LB_TRY(lb_join_build_of(self, 0, &shared->build, err));
    return shared->build->table != NULL
               ? LB_OK
               : lb_error_set(err, LB_ERR_INTERNAL, "plan: %s has no table", self->label);
}

static lb_status index_attach(struct lb_op_local *local, struct lb_error *err)
{
    local->state = lb_alloc_zero(sizeof(uint32_t));
    return local->state != NULL ? LB_OK : lb_error_memory(err, local->op->label, sizeof(uint32_t));
}

static void index_detach(struct lb_op_local *local)
{
    lb_free(local->state, sizeof(uint32_t));
}

static void index_close(struct lb_op *self)
{
    lb_free(self->shared, sizeof(struct index_shared));
    self->shared = NULL;
}

static lb_status hash_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct index_shared *shared = local->op->shared;
    *more = shared->next < lb_join_table_n_blocks(shared->build->table);
    *(uint32_t *)local->state = shared->next++;
    return LB_OK;
}

static lb_status hash_produce(struct lb_op_local *local, struct lb_error *err)
{
    const struct index_shared *shared = local->op->shared;
    return lb_join_table_hash(shared->build->table, *(uint32_t *)local->state, err);
}

static lb_status insert_claim(struct lb_op_local *local, bool *more, struct lb_error *err)
{
    (void)err;
    struct index_shared *shared = local->op->shared;
    if (shared->next == 0)
        lb_join_table_lay_out(shared->build->table);
    *more = shared->next < lb_join_table_n_parts(shared->build->table);
    *(uint32_t *)local->state = shared->next++;
    return LB_OK;
}

static lb_status insert_produce(struct lb_op_local *local, struct lb_error *err)
{
    (void)err;
    const struct index_shared *shared = local->op->shared;
    lb_join_table_insert(shared->build->table, *(uint32_t *)local->state);
    return LB_OK;
}

const struct lb_op_class lb_op_scan_join_hash = {
    .name = "scan.join_hash",
    .kind = LB_OP_SOURCE,
    .open = index_open,
    .attach = index_attach,
    .claim = hash_claim,
    .produce = hash_produce,
    .detach = index_detach,
    .close = index_close,
};

const struct lb_op_class lb_op_scan_join_insert = {
    .name = "scan.join_insert",
    .kind = LB_OP_SOURCE,
    .waits = true,
    .open = index_open,
    .attach = index_attach,
    .claim = insert_claim,
    .produce = insert_produce,
    .detach = index_detach,
    .close = index_close,
};
