--- The functions of the library itself that run on workers. They are shipped like the user's: what they capture
-- travels with them, and nothing here is changed after it was made.
-- @module luabatch.builtin
local compat = require "luabatch.compat"

local builtin = {}

-- A copy of a table of plain values; other values as they are.
local function copy(value)
  if type(value) ~= "table" then return value end
  local result = {}
  for k, v in pairs(value) do result[k] = copy(v) end
  return result
end
builtin.copy = copy

--- a + b, as the kernel "sum" computes it.
function builtin.add(a, b) return a + b end

--- What the loop `n = n + c` from n = 0 makes of a single value: "5" and -0.0 become 5 and 0.0.
function builtin.from_zero(n) return 0 + n end

--- A record as one value: itself, or the list of its columns.
function builtin.record(...)
  if select("#", ...) <= 1 then return (...) end
  return { ... }
end

--- The first column.
function builtin.first(value) return value end

--- The columns, and a nil value where there is a key only.
function builtin.pair(key, ...)
  if select("#", ...) == 0 then return key, nil end
  return key, ...
end

--- What orders records by their last column, the greatest number first, then by the columns before it.
function builtin.by_last(...)
  local n = select("#", ...)
  local last = select(n, ...)
  return { -last, ... }
end

--- All columns but the first.
function builtin.rest(_, ...) return ... end

--- (key, value) -> (value, key).
function builtin.swap(key, ...)
  if select("#", ...) > 1 then error("swap: the record has more than a key and one value", 0) end
  return ..., key
end

--- The mapper of a step without one. A mapper is called with (key, value..., emit, task).
function builtin.identity_mapper(key, ...)
  local n = select("#", ...)
  if n == 3 then
    local value, emit = ...
    return emit(key, value)
  end
  local emit = select(n - 1, ...)
  local values = { ... }
  emit(key, compat.unpack(values, 1, n - 2))
end

--- A filter that keeps records whose key equals the given one.
function builtin.key_is(wanted)
  if type(wanted) == "table" or wanted ~= wanted then
    local core = require "luabatch.core"
    return function(key) return core.compare(key, wanted) == 0 end
  end
  return function(key) return key == wanted end
end

--- fold_by_key's last step: the zero is applied once to what the values of a key came to.
function builtin.apply_zero(zero, f)
  return function(value) return f(copy(zero), value) end
end

--- aggregate_by_key's beginning of a state.
function builtin.create_from_zero(zero, step)
  return function(...) return step(copy(zero), ...) end
end

-- Folds: `create(record)` makes a state, `step(state, record)` goes on with it, `merge(a, b)` joins two, a being of
-- earlier input. States are values that can travel.

-- Sums. Integers are added exactly: `carry` counts the wraps around 2^64, so only the end result can
-- overflow. Floats are added with a correction term for what each addition lost (Neumaier), in input order.

local function number(value, action)
  if type(value) ~= "number" and not compat.is_int64(value) then
    error(("%s: a record is not a number but %s"):format(action, type(value) == "string"
      and ("the string %q"):format(value:sub(1, 40)) or "a " .. type(value)), 0)
  end
  return value
end

local function add_integer(state, value)
  local before = state.integer
  if compat.int64 then -- no integers: doubles as long as they are exact
    if type(before) == "number" and type(value) == "number" and math.abs(before + value) < 2 ^ 53 then
      state.integer = before + value
      return
    end
    before, value = compat.int64(before), compat.int64(value)
  end
  local after = before + value
  if value >= 0 then
    if after < before then state.carry = state.carry + 1 end
  elseif after > before then
    state.carry = state.carry - 1
  end
  state.integer = after
end

local function add_float(state, value)
  local before = state.float
  local after = before + value
  if after - after == 0 then -- finite: infinities have no remainder
    if math.abs(before) >= math.abs(value) then
      state.lost = state.lost + ((before - after) + value)
    else
      state.lost = state.lost + ((value - after) + before)
    end
  end
  state.float = after
end

local function sum_step(state, value)
  if compat.math_type(number(value, "sum")) == "integer" then
    add_integer(state, value)
  else
    state.has_float = true
    add_float(state, value)
  end
  state.n = state.n + 1
  return state
end

builtin.sum = {
  create = function(value)
    return sum_step({ n = 0, integer = 0, carry = 0, float = 0.0, lost = 0.0, has_float = false }, value)
  end,
  step = sum_step,
  merge = function(a, b)
    add_integer(a, b.integer)
    a.carry = a.carry + b.carry
    add_float(a, b.float)
    a.lost = a.lost + b.lost
    a.has_float = a.has_float or b.has_float
    a.n = a.n + b.n
    return a
  end,
}

--- The total of a sum state as a float.
function builtin.sum_float(state)
  return (tonumber(state.integer) + state.carry * 18446744073709551616.0) + (state.float + state.lost)
end

--- The total of a sum state: an integer when all were integers.
-- @return the number, or nil and a message
function builtin.sum_total(state)
  if state.has_float then return builtin.sum_float(state) end
  if state.carry ~= 0 then return nil, "sum: integer overflow" end
  return state.integer
end

-- True when a comes before b in the order of values.
local function before(a, b)
  if type(a) == "number" and type(b) == "number" and a == a and b == b then return a < b end
  return require("luabatch.core").compare(a, b) < 0
end

builtin.min = {
  create = function(value) return { value } end,
  step = function(state, value)
    if before(value, state[1]) then state[1] = value end
    return state
  end,
  merge = function(a, b) return before(b[1], a[1]) and b or a end,
}

builtin.max = {
  create = function(value) return { value } end,
  step = function(state, value)
    if before(state[1], value) then state[1] = value end
    return state
  end,
  merge = function(a, b) return before(a[1], b[1]) and b or a end,
}

-- Mean and squared deviations together, as Welford and Chan give them: no cancellation for large means.
local function stats_step(state, value)
  number(value, "stats")
  sum_step(state.sum, value)
  local n = state.sum.n
  local x = type(value) == "number" and value or tonumber(value)
  local delta = x - state.mean
  state.mean = state.mean + delta / n
  state.m2 = state.m2 + delta * (x - state.mean)
  if before(value, state.min) then state.min = value end
  if before(state.max, value) then state.max = value end
  return state
end

builtin.stats = {
  create = function(value)
    local sum = { n = 0, integer = 0, carry = 0, float = 0.0, lost = 0.0, has_float = false }
    return stats_step({ sum = sum, mean = 0.0, m2 = 0.0, min = value, max = value }, value)
  end,
  step = stats_step,
  merge = function(a, b)
    local n_a, n_b = a.sum.n, b.sum.n
    local delta = b.mean - a.mean
    a.mean = a.mean + delta * n_b / (n_a + n_b)
    a.m2 = a.m2 + b.m2 + delta * delta * n_a * n_b / (n_a + n_b)
    a.sum = builtin.sum.merge(a.sum, b.sum)
    if before(b.min, a.min) then a.min = b.min end
    if before(a.max, b.max) then a.max = b.max end
    return a
  end,
}

--- The least and the greatest number, for a histogram.
local function bounds_step(state, value)
  if number(value, "histogram") ~= value then error("histogram: a record is NaN", 0) end
  value = type(value) == "number" and value or tonumber(value)
  state.min, state.max = math.min(state.min, value), math.max(state.max, value)
  return state
end

builtin.bounds = {
  create = function(value) return bounds_step({ min = math.huge, max = -math.huge }, value) end,
  step = bounds_step,
  merge = function(a, b)
    a.min, a.max = math.min(a.min, b.min), math.max(a.max, b.max)
    return a
  end,
}

--- A fold that counts values between ascending edges: bucket i is [edge i, edge i+1), the last one closed.
-- @param edges list of at least two ascending numbers
function builtin.histogram(edges)
  local n = #edges - 1
  local function step(counts, value)
    if number(value, "histogram") ~= value then error("histogram: a record is NaN", 0) end
    value = type(value) == "number" and value or tonumber(value)
    if value >= edges[1] and value <= edges[n + 1] then
      local low, high = 1, n
      while low < high do
        local middle = math.floor((low + high + 1) / 2)
        if value >= edges[middle] then low = middle else high = middle - 1 end
      end
      counts[low] = counts[low] + 1
    end
    return counts
  end
  return {
    create = function(value)
      local counts = {}
      for i = 1, n do counts[i] = 0 end
      return step(counts, value)
    end,
    step = step,
    merge = function(a, b)
      for i = 1, n do a[i] = a[i] + b[i] end
      return a
    end,
  }
end

return builtin
