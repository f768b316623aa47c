--- What becomes of a run that a failed read, or a damaged spill file, has ended: it begins again from its inputs.
--
-- The engine marks such errors (`transient`). Nothing is published before the end of a run, so an attempt leaves nothing behind but
-- what it printed and what `foreach` saw; `core.attempts` keeps how far that came, and the next attempt goes on there.
-- @module luabatch.attempts
local core = require "luabatch.core"

local attempts = {}

--- How often a run is begun before its error counts.
attempts.MOST = 4

--- Whether the same run may go well when it is done again.
function attempts.is_worth(failure)
  return type(failure) == "table" and failure.transient == true
end

--- The first of a plan's inputs that cannot be read twice, or nil.
function attempts.once(description)
  for _, node in ipairs(description.nodes) do
    for _, file in ipairs(node.paths and core.expand_paths(node.paths) or {}) do
      if not file.is_regular then return file.path end
    end
  end
end

--- The error of a run that would have to begin again and cannot.
function attempts.refused(failure, input)
  local name = input == "-" and "standard input" or input
  return setmetatable({
    status = failure.status, message = ("%s\n  %s cannot be read twice, so the run did not begin again"):format(failure.message, name),
  }, getmetatable(failure))
end

--- Forgets the kept records that could not be read back; the next run computes them.
-- @param node the last logical node
function attempts.drop_damaged(node, seen)
  seen = seen or {}
  if seen[node] then return end
  seen[node] = true
  local cache = node.cache
  if node.op == "cache" and cache.store and cache.store:is_damaged() then
    cache.store:close()
    cache.store = nil
  end
  for _, input in ipairs(node.inputs or {}) do attempts.drop_damaged(input, seen) end
end

--- What user functions counted in a run that does not count.
-- @param before what core.counters gave before it
function attempts.uncount(before)
  for name, value in pairs(core.counters()) do
    if value ~= (before[name] or 0) then core.counter(name):add((before[name] or 0) - value) end
  end
end

-- The records that a run ended with. They may be on disk, and are computed again when they cannot be read back.
local Kept = {}
Kept.__index = Kept

--- Records that are computed again when they cannot be read back.
-- @param store what the run gave
-- @param again function(error, number) that runs it once more, as that attempt, and gives the new store
-- @return table with the methods `count`, `list`, `rows` of a store
function attempts.kept(store, again)
  return setmetatable({ store = store, again = again, number = 1 }, Kept)
end

function Kept:mend(failure)
  self.number = self.number + 1
  if self.number > attempts.MOST then error(failure, 0) end
  local n, store = self.store:count(), self.again(failure, self.number)
  if store:count() ~= n then
    error(("%s\n  the repeated run gave %d records in place of %d"):format(failure.message, store:count(), n), 0)
  end
  self.store = store
  return store
end

function Kept:count() return self.store:count() end

function Kept:list(names)
  while true do
    local ok, list = pcall(self.store.list, self.store, names)
    if ok then return list end
    if not attempts.is_worth(list) then error(list, 0) end
    self:mend(list)
  end
end

function Kept:rows(names)
  return self.store:rows(names, function(failure) return self:mend(failure) end)
end

return attempts
