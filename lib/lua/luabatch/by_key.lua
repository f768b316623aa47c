--- Verbs of pairs by key: the methods of a dataset from reduce_by_key to cogroup.
-- @module luabatch.by_key
local check = require "luabatch.check"
local builtin = require "luabatch.builtin"
local dataset = require "luabatch.dataset"

local Dataset = {}

-- Options.
local plain = { partitions = "integer" }
local salted = { partitions = "integer", salt = "salt" }
local of_function = { partitions = "integer", salt = "salt", on_error = "policy" }

--- One pair per key, its values brought together two by two; they are combined before they travel. Keys come by partition of a
-- hash, in each in order.
-- @param f function(a, b) -> value: associative and commutative
-- @param options table?: `partitions` (default 64), `salt` (number of pieces, or function of the key), `on_error`
-- @raise an error of f ends the run
-- @usage lb.from_pairs({ { "a", 1 }, { "a", 2 } }):reduce_by_key(function(a, b) return a + b end):show()
function Dataset:reduce_by_key(f, options)
  check.pairs("reduce_by_key", self._node)
  check.func("reduce_by_key", "f", f)
  options = check.options("reduce_by_key", options, of_function)
  return dataset.derive(self, "reduce_by_key", {
    fn = f, partitions = options.partitions, salt = options.salt, on_error = options.on_error, columns = 2,
  })
end

--- As `reduce_by_key`, and `f(zero, value)` of what comes out, once for each key.
-- @param zero value: what each key begins with
-- @param f function(a, b) -> value: associative and commutative
-- @param options table?: as for `reduce_by_key`
-- @usage lb.from_pairs({ { "a", 1 }, { "a", 2 } }):fold_by_key(100, function(a, b) return a + b end):show()
function Dataset:fold_by_key(zero, f, options)
  check.pairs("fold_by_key", self._node)
  check.func("fold_by_key", "f", f)
  options = check.options("fold_by_key", options, of_function)
  local reduced = dataset.derive(self, "reduce_by_key", {
    fn = f, partitions = options.partitions, salt = options.salt, on_error = options.on_error, columns = 2, label = "fold_by_key",
  })
  return dataset.derive(reduced, "map_values", {
    fn = builtin.apply_zero(zero, f), on_error = options.on_error, columns = 2, label = "fold_by_key",
  })
end

--- One pair per key: its values taken into a state by seq, states brought together by comb.
-- @param zero value: state to begin with; a table is copied for each key
-- @param seq function(state, value) -> state
-- @param comb function(state, state) -> state
-- @param options table?: as for `reduce_by_key`
-- @usage
-- lb.from_pairs({ { "a", "x" }, { "a", "y" } }):aggregate_by_key(0, function(n) return n + 1 end, function(a, b)
--   return a + b
-- end):show()
function Dataset:aggregate_by_key(zero, seq, comb, options)
  check.pairs("aggregate_by_key", self._node)
  check.func("aggregate_by_key", "seq", seq)
  check.func("aggregate_by_key", "comb", comb)
  options = check.options("aggregate_by_key", options, of_function)
  return dataset.derive(self, "combine_by_key", {
    create = builtin.create_from_zero(zero, seq), merge_value = seq, merge_combiners = comb,
    label = "aggregate_by_key", partitions = options.partitions, salt = options.salt, on_error = options.on_error, columns = 2,
  })
end

--- As `aggregate_by_key`, the state being made from the first value.
-- @param create function(value) -> state
-- @param merge_value function(state, value) -> state
-- @param merge_combiners function(state, state) -> state
-- @param options table?: as for `reduce_by_key`
-- @usage
-- local function join(a, b) return a .. " " .. b end
-- lb.from_pairs({ { "a", 1 }, { "a", 2 } }):combine_by_key(tostring, join, join):show()
function Dataset:combine_by_key(create, merge_value, merge_combiners, options)
  check.pairs("combine_by_key", self._node)
  check.func("combine_by_key", "create", create)
  check.func("combine_by_key", "merge_value", merge_value)
  check.func("combine_by_key", "merge_combiners", merge_combiners)
  options = check.options("combine_by_key", options, of_function)
  return dataset.derive(self, "combine_by_key", {
    create = create, merge_value = merge_value, merge_combiners = merge_combiners,
    partitions = options.partitions, salt = options.salt, on_error = options.on_error, columns = 2,
  })
end

--- Pairs of a key and the list of its values, in input order. Each list is built in memory; `reduce_groups` streams.
-- @param options table?: `{partitions = n}` (default 64)
-- @raise a list that does not fit `--memory` ends the run
-- @usage lb.from_pairs({ { "a", 1 }, { "a", 2 } }):group_by_key():show()
function Dataset:group_by_key(options)
  check.pairs("group_by_key", self._node)
  options = check.options("group_by_key", options, plain)
  return dataset.derive(self, "group_by_key", { partitions = options.partitions, columns = 2 })
end

--- Pairs of a record and how often it occurs. A record of several columns becomes a list.
-- @param options table?: `{partitions = n}` (default 64)
-- @usage lb.text("book.txt"):words():value_counts():show()
function Dataset:value_counts(options)
  options = check.options("value_counts", options, plain)
  return dataset.derive(self, "value_counts", { partitions = options.partitions, columns = 2 })
end

--- Calls f for each key with an iterator over its values, which may be more than fit in memory.
-- @param f function(key, values, emit): `for v in values do` streams; what f does not read is passed over
-- @param options table?: `sort_values` (true: values come in their order; otherwise in input order), `partitions` (default 64), `on_error`
-- @raise an error of f ends the run; the message has the key
-- @usage lb.from_pairs({ { "a", 2 }, { "a", 1 } }):reduce_groups(function(key, values, emit)
--   emit(key, values())
-- end, { sort_values = true }):show()
function Dataset:reduce_groups(f, options)
  check.pairs("reduce_groups", self._node)
  check.func("reduce_groups", "f", f)
  options = check.options("reduce_groups", options, {
    sort_values = "boolean", partitions = "integer", on_error = "policy",
  })
  return dataset.derive(self, "groups", {
    fn = f, sort_values = options.sort_values, partitions = options.partitions, on_error = options.on_error,
    label = "reduce_groups",
  })
end

--- The pairs whose key the other dataset has not; nil is a key as any other.
-- @param other dataset: of pairs
-- @param options table?: `{partitions = n}` (default 64)
-- @usage lb.from_pairs({ { "a", 1 }, { "b", 2 } }):subtract_by_key(lb.from_pairs({ { "a", 0 } })):show()
function Dataset:subtract_by_key(other, options)
  check.pairs("subtract_by_key", self._node)
  local node = dataset.check("subtract_by_key", "other", other)
  options = check.options("subtract_by_key", options, plain)
  return dataset.derive(self, "subtract_by_key", {
    inputs = { self._node, node }, partitions = options.partitions, columns = self._node.columns,
  })
end

-- Joins of pairs. Keys that are nil match nothing. Within a key the result is in order of this dataset's records, and for
-- each of them in order of the other's; a value of several columns is a list.

local function join(self, verb, kind, other, options)
  if self._node.names or type(options) == "table" and options.on ~= nil then
    return require("luabatch.row").join(self, other, options, verb)
  end
  check.pairs(verb, self._node)
  local node = dataset.check(verb, "other", other)
  -- Of the other's records these two want no more than the key.
  if kind ~= "semi" and kind ~= "anti" then check.pairs(verb, node) end
  options = check.options(verb, options, salted)
  return dataset.derive(self, "join", {
    inputs = { self._node, node }, partitions = options.partitions, salt = options.salt, kind = kind, label = verb,
    columns = (kind == "semi" or kind == "anti") and 2 or 3,
  })
end

--- The pairs of both datasets that have the same key: (key, left, right), one record for each pair of matching records; a nil key
-- matches nothing. Rows are joined by columns: `a:join(b, { on = "id" })`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: of pairs `partitions` and `salt`; of rows `on` and others, see the other `join`
-- @usage lb.from_pairs({ { "a", 1 } }):join(lb.from_pairs({ { "a", "x" } })):show()
function Dataset:join(other, options)
  return join(self, "join", "inner", other, options)
end

--- As `join`, and (key, left, nil) for pairs without a match. Of rows: `join` with `how = "left"`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: as for `join`
-- @usage lb.from_pairs({ { "a", 1 } }):left_join(lb.from_pairs({ { "b", "x" } })):show()
function Dataset:left_join(other, options)
  return join(self, "left_join", "left", other, options)
end

--- As `join`, and (key, nil, right) for the other's pairs without a match. Of rows: `join` with `how = "right"`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: as for `join`
-- @usage lb.from_pairs({ { "a", 1 } }):right_join(lb.from_pairs({ { "b", "x" } })):show()
function Dataset:right_join(other, options)
  return join(self, "right_join", "right", other, options)
end

--- As `join`, with the unmatched pairs of both. Of rows: `join` with `how = "full"`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: as for `join`
-- @usage lb.from_pairs({ { "a", 1 } }):full_join(lb.from_pairs({ { "b", "x" } })):show()
function Dataset:full_join(other, options)
  return join(self, "full_join", "full", other, options)
end

--- The pairs whose key the other dataset has, each once. Of rows: `join` with `how = "semi"`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: as for `join`
-- @usage lb.csv("people.csv"):semi_join(lb.csv("sales.csv"), { on = { left = "name", right = "user" } }):show()
function Dataset:semi_join(other, options)
  return join(self, "semi_join", "semi", other, options)
end

--- The pairs whose key the other dataset has not; those whose key is nil are among them. Of rows: `join` with `how = "anti"`.
-- @param other dataset: of pairs, or of rows
-- @param options table?: as for `join`
-- @usage lb.csv("people.csv"):anti_join(lb.csv("sales.csv"), { on = { left = "name", right = "user" } }):show()
function Dataset:anti_join(other, options)
  return join(self, "anti_join", "anti", other, options)
end

--- The values of each key, a list for each dataset: (key, list, list, ...). A key that a dataset has not gets an empty list there.
-- Each list is built in memory.
-- @param ... dataset: others of pairs; then `{partitions = n}` may follow
-- @usage lb.from_pairs({ { "a", 1 } }):cogroup(lb.from_pairs({ { "a", 2 }, { "b", 3 } })):show()
function Dataset:cogroup(...)
  local others, options = { ... }, nil
  if #others > 1 and not dataset.is(others[#others]) then options = table.remove(others) end
  local inputs = { self._node, dataset.check("cogroup", "other", others[1]) }
  for i = 2, #others do
    inputs[i + 1] = dataset.check("cogroup", ("other[%d]"):format(i), others[i])
  end
  for _, node in ipairs(inputs) do check.pairs("cogroup", node) end
  options = check.options("cogroup", options, plain)
  return dataset.derive(self, "cogroup", {
    inputs = inputs, partitions = options.partitions, columns = #inputs + 1,
  })
end

return Dataset
