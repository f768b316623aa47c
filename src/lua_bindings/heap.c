/* The Lua heap of one worker.
 *
 * IDEA   Lua makes and drops objects of a few dozen bytes by the million: strings, tables, closures.
 *        They come from 16 KiB pages of one size class each (16, 32 ... 256 bytes). A page has its own
 *        free list and count, found from an object's address by masking, so freeing knows the class
 *        without being told and a page that gets empty can serve another class. Larger blocks go to
 *        lb_realloc.
 * MEMORY Pages are cut from regions of 256 KiB, the step in which the budget is asked. Regions stay
 *        until the state is closed; large blocks are given back at once, their reservation with a
 *        slack of four steps so that a growing and shrinking table does not hammer the budget.
 *        Refused means NULL: Lua then collects everything and tries again before it raises.
 * LUAJIT It does not collect when memory is refused, but raises at once. So the heap may overdraw the budget by
 *        half of what it holds. After the next call of lb_lua_heap_wants_collection everything is collected; what is then given
 *        back counts against the overdraft first, so that what is in use does not overdraw again and again.
 * INVARIANT  Lua relies on shrinking never to fail. A large block that becomes small must move to a
 *        page; when no page can be had it stays where it is, linked into `stranded` through its unused
 *        bytes behind offset 256 (large blocks have at least STRANDED_BYTES). While that list is not
 *        empty, small blocks are looked up there first.
 * THREADS none: one heap belongs to one worker.
 * WHY NOT malloc: see the figures in worker.c. */
#include "lua_bindings/heap.h"

#include <stdint.h>
#include <string.h>

#include "core/base/fault.h"
#include "core/base/sys.h"
#include "lua_bindings/compat.h"

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#define POISON(address, size) ASAN_POISON_MEMORY_REGION(address, size)
#define UNPOISON(address, size) ASAN_UNPOISON_MEMORY_REGION(address, size)
#else
#define POISON(address, size) ((void)(address), (void)(size))
#define UNPOISON(address, size) ((void)(address), (void)(size))
#endif

enum {
    GRAIN_BYTES = 16,
    SMALL_BYTES = 256,
    N_CLASSES = SMALL_BYTES / GRAIN_BYTES,
    PAGE_BYTES = 16 * 1024,
    PAGE_HEAD_BYTES = 64,
    REGION_BYTES = 256 * 1024,
    STEP_BYTES = REGION_BYTES,
    SLACK_BYTES = 4 * STEP_BYTES,
    STRANDED_BYTES = SMALL_BYTES + 16
};

/* A free object; lives in the object's own bytes. */
struct slot {
    struct slot *next;
};

/* The head of a page. */
struct page {
    struct slot *free; /* objects given back */
    char *fresh;       /* objects never used start here... */
    char *end;         /* ...and end here */
    uint32_t n_used;
    uint32_t class;        /* size = (class + 1) * GRAIN_BYTES */
    struct page *previous; /* in the class's list of pages with room, or the list of empty ones */
    struct page *next;
    bool is_listed; /* has room, so it stands in its class's list */
};
_Static_assert(sizeof(struct page) <= PAGE_HEAD_BYTES, "page head");

struct region {
    struct region *next;
};

/* Behind the small part of a stranded block. */
struct stranded {
    char *next;
    size_t block_bytes;
};

struct lb_lua_heap {
    /* configuration */
    struct lb_budget *budget;
    size_t minimum_bytes;
    size_t *reserved_bytes;
    /* state */
    size_t held_bytes;             /* regions and large blocks */
    struct page *roomy[N_CLASSES]; /* pages with room; the first is allocated from */
    struct page *empty;            /* pages of no class */
    struct region *regions;
    char *stranded;         /* see INVARIANT */
    bool wants_collection;  /* the budget refused */
    size_t overdraft_bytes; /* taken all the same, and not given back; see LUAJIT */
    size_t refused_bytes;   /* asked for and not given, the last time */
};

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) / step * step;
}

lb_status lb_lua_heap_new(struct lb_budget *budget, size_t minimum_bytes, size_t *reserved_bytes,
                          struct lb_lua_heap **out, struct lb_error *err)
{
    struct lb_lua_heap *heap = lb_alloc_zero(sizeof *heap);
    if (heap == NULL)
        return lb_error_memory(err, "the Lua heap of a worker", sizeof *heap);
    heap->budget = budget;
    heap->minimum_bytes = minimum_bytes;
    heap->reserved_bytes = reserved_bytes;
    lb_budget_force(budget, minimum_bytes);
    *reserved_bytes = minimum_bytes;
    *out = heap;
    return LB_OK;
}

void lb_lua_heap_delete(struct lb_lua_heap *heap)
{
    if (heap == NULL)
        return;
    while (heap->regions != NULL) {
        struct region *region = heap->regions;
        heap->regions = region->next;
        UNPOISON(region, REGION_BYTES);
        lb_free(region, REGION_BYTES);
    }
    lb_budget_release(heap->budget, *heap->reserved_bytes);
    *heap->reserved_bytes = 0;
    lb_free(heap, sizeof *heap);
}

size_t lb_lua_heap_refused_bytes(const struct lb_lua_heap *heap)
{
    return heap->refused_bytes;
}

/* Takes what the budget has refused, within bounds. */
static bool overdraw(struct lb_lua_heap *heap, size_t step)
{
    heap->wants_collection = true;
    if (!LB_LUAJIT || heap->overdraft_bytes + step > heap->minimum_bytes + heap->held_bytes / 2)
        return false;
    heap->overdraft_bytes += step;
    lb_budget_force(heap->budget, step);
    return true;
}

bool lb_lua_heap_wants_collection(struct lb_lua_heap *heap)
{
    bool wants = heap->wants_collection;
    heap->wants_collection = false;
    return wants;
}

/* Counts `more` further bytes, asking the budget when the reservation is used up. */
static bool hold(struct lb_lua_heap *heap, size_t more)
{
    size_t held = heap->held_bytes + more;
    if (held > *heap->reserved_bytes) {
        size_t step = round_up(held - *heap->reserved_bytes, STEP_BYTES);
        if (!lb_budget_reserve(heap->budget, step) && !overdraw(heap, step)) {
            heap->refused_bytes = more;
            return false;
        }
        *heap->reserved_bytes += step;
    }
    heap->held_bytes = held;
    return true;
}

static void unhold(struct lb_lua_heap *heap, size_t less)
{
    heap->held_bytes -= less;
    size_t reserved = *heap->reserved_bytes;
    if (reserved <= heap->minimum_bytes || reserved - heap->held_bytes <= SLACK_BYTES)
        return;
    size_t keep = round_up(heap->held_bytes, STEP_BYTES) + STEP_BYTES;
    if (keep < heap->minimum_bytes)
        keep = heap->minimum_bytes;
    if (keep < reserved) {
        size_t back = reserved - keep;
        *heap->reserved_bytes = keep;
        heap->overdraft_bytes -= back < heap->overdraft_bytes ? back : heap->overdraft_bytes;
        lb_budget_release(heap->budget, back);
    }
}

static void list_add(struct page **list, struct page *page)
{
    page->previous = NULL;
    page->next = *list;
    if (*list != NULL)
        (*list)->previous = page;
    *list = page;
}

static void list_remove(struct page **list, struct page *page)
{
    if (page->previous != NULL)
        page->previous->next = page->next;
    else
        *list = page->next;
    if (page->next != NULL)
        page->next->previous = page->previous;
}

/* Cuts a new region into empty pages. Its start is not aligned to a page: what lies before the first
 * page holds the list link. */
static bool add_region(struct lb_lua_heap *heap)
{
    if (!hold(heap, REGION_BYTES))
        return false;
    struct region *region = lb_alloc(REGION_BYTES);
    if (region == NULL) {
        heap->refused_bytes = REGION_BYTES;
        unhold(heap, REGION_BYTES);
        return false;
    }
    region->next = heap->regions;
    heap->regions = region;
    uintptr_t first = round_up((uintptr_t)region + sizeof *region, PAGE_BYTES);
    uintptr_t end = (uintptr_t)region + REGION_BYTES;
    for (uintptr_t at = first; at + PAGE_BYTES <= end; at += PAGE_BYTES)
        list_add(&heap->empty, (struct page *)at);
    return true;
}

/* Gives the class a page with room at the head of its list. */
static bool add_page(struct lb_lua_heap *heap, uint32_t class)
{
    if (heap->empty == NULL && !add_region(heap))
        return false;
    struct page *page = heap->empty;
    list_remove(&heap->empty, page);
    size_t size = ((size_t) class + 1) * GRAIN_BYTES;
    page->free = NULL;
    page->fresh = (char *)page + PAGE_HEAD_BYTES;
    page->end = page->fresh + (PAGE_BYTES - PAGE_HEAD_BYTES) / size * size;
    page->n_used = 0;
    page->class = class;
    page->is_listed = true;
    POISON(page->fresh, (size_t)(page->end - page->fresh));
    list_add(&heap->roomy[class], page);
    return true;
}

static void *small_alloc(struct lb_lua_heap *heap, size_t size)
{
    uint32_t class = (uint32_t)((size - 1) / GRAIN_BYTES);
    for (;;) {
        struct page *page = heap->roomy[class];
        if (__builtin_expect(page == NULL, 0)) {
            if (!add_page(heap, class))
                return NULL;
            page = heap->roomy[class];
        }
        struct slot *slot = page->free;
        if (__builtin_expect(slot != NULL, 1)) {
            UNPOISON(slot, sizeof *slot);
            page->free = slot->next;
            page->n_used++;
            POISON(slot, sizeof *slot);
            UNPOISON(slot, size);
            return slot;
        }
        if (page->fresh < page->end) {
            void *block = page->fresh;
            page->fresh += ((size_t) class + 1) * GRAIN_BYTES;
            page->n_used++;
            UNPOISON(block, size);
            return block;
        }
        list_remove(&heap->roomy[class], page);
        page->is_listed = false;
    }
}

static struct page *page_of(void *block)
{
    return (struct page *)((uintptr_t)block & ~(uintptr_t)(PAGE_BYTES - 1));
}

static void small_free(struct lb_lua_heap *heap, void *block)
{
    struct page *page = page_of(block);
    struct slot *slot = block;
    UNPOISON(slot, sizeof *slot);
    slot->next = page->free;
    page->free = slot;
    POISON(block, ((size_t)page->class + 1) * GRAIN_BYTES);
    page->n_used--;
    if (__builtin_expect(!page->is_listed, 0)) {
        page->is_listed = true;
        list_add(&heap->roomy[page->class], page);
    } else if (__builtin_expect(page->n_used == 0, 0) && page != heap->roomy[page->class]) {
        list_remove(&heap->roomy[page->class], page);
        UNPOISON(page, PAGE_BYTES);
        list_add(&heap->empty, page);
    }
}

static size_t large_bytes(size_t size)
{
    return size < STRANDED_BYTES ? STRANDED_BYTES : size;
}

static struct stranded *stranded_link(char *block)
{
    return (struct stranded *)(void *)(block + SMALL_BYTES);
}

/* Takes a block out of the stranded list: its size, or 0 when it is not there. */
static size_t unstrand(struct lb_lua_heap *heap, void *block)
{
    char **at = &heap->stranded;
    while (*at != NULL && *at != block)
        at = &stranded_link(*at)->next;
    if (*at == NULL)
        return 0;
    struct stranded *link = stranded_link(*at);
    *at = link->next;
    return link->block_bytes;
}

static void strand(struct lb_lua_heap *heap, void *block, size_t block_bytes)
{
    struct stranded *link = stranded_link(block);
    link->next = heap->stranded;
    link->block_bytes = block_bytes;
    heap->stranded = block;
}

/* A block of large_bytes(old_size) to new_size. */
static void *large_resize(struct lb_lua_heap *heap, void *block, size_t old_bytes, size_t new_size)
{
    size_t new_bytes = large_bytes(new_size);
    if (new_bytes > old_bytes && !hold(heap, new_bytes - old_bytes))
        return NULL;
    void *moved = lb_realloc(block, old_bytes, new_bytes);
    if (moved == NULL && new_bytes <= old_bytes) /* does not happen, unless a test makes it fail */
        moved = lb_realloc(block, old_bytes, new_bytes);
    if (moved == NULL) {
        if (new_bytes > old_bytes) {
            heap->refused_bytes = new_bytes - old_bytes;
            unhold(heap, new_bytes - old_bytes);
        }
        return NULL;
    }
    if (new_bytes < old_bytes)
        unhold(heap, old_bytes - new_bytes);
    return moved;
}

/* What is not a plain small allocation or release. */
static void *other(struct lb_lua_heap *heap, void *block, size_t old_size, size_t new_size)
{
    size_t old_bytes = 0; /* of a block outside pages */
    if (block != NULL) {
        if (old_size > SMALL_BYTES)
            old_bytes = large_bytes(old_size);
        else if (heap->stranded != NULL)
            old_bytes = unstrand(heap, block);
    }

    if (new_size == 0) {
        if (old_bytes > 0) {
            lb_free(block, old_bytes);
            unhold(heap, old_bytes);
        } else if (block != NULL) {
            small_free(heap, block);
        }
        return NULL;
    }
    if (old_bytes > 0 && new_size > SMALL_BYTES) {
        void *moved = large_resize(heap, block, old_bytes, new_size);
        if (moved == NULL && old_size <= SMALL_BYTES)
            strand(heap, block, old_bytes);
        if (moved == NULL && new_size <= old_size)
            return block;
        return moved;
    }
    if (block != NULL && old_bytes == 0 && new_size <= SMALL_BYTES &&
        page_of(block)->class == (new_size - 1) / GRAIN_BYTES) {
        UNPOISON(block, new_size);
        return block;
    }

    void *moved = new_size > SMALL_BYTES ? large_resize(heap, NULL, 0, new_size)
                                         : small_alloc(heap, new_size);
    if (moved == NULL) {
        if (old_bytes > 0) { /* to small: the block has room for it where it is */
            strand(heap, block, old_bytes);
            return block;
        }
        return block != NULL && new_size <= old_size ? block : NULL;
    }
    if (block != NULL) {
        memcpy(moved, block, old_size < new_size ? old_size : new_size);
        if (old_bytes > 0) {
            lb_free(block, old_bytes);
            unhold(heap, old_bytes);
        } else {
            small_free(heap, block);
        }
    }
    return moved;
}

void *lb_lua_heap_alloc(void *user_data, void *block, size_t old_size, size_t new_size)
{
    struct lb_lua_heap *heap = user_data;
    if (new_size > (block != NULL ? old_size : 0) && LB_FAULT(LUA, NULL)) {
        heap->refused_bytes = new_size - (block != NULL ? old_size : 0);
        return NULL;
    }
    if (block == NULL) { /* old_size then tells the kind of object, no size */
        if (__builtin_expect(new_size - 1 < SMALL_BYTES, 1))
            return small_alloc(heap, new_size);
        return new_size == 0 ? NULL : large_resize(heap, NULL, 0, new_size);
    }
    if (new_size == 0 && old_size <= SMALL_BYTES && heap->stranded == NULL) {
        small_free(heap, block);
        return NULL;
    }
    return other(heap, block, old_size, new_size);
}
