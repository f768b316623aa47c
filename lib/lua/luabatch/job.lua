--- Jobs: steps of mapper, combiner and reducer.
-- @module luabatch
local builtin = require "luabatch.builtin"
local check = require "luabatch.check"
local dataset = require "luabatch.dataset"

local module = {}

-- Methods; the metatable is apart from them, where no job can reach it.
local Job = {}
local meta = { __index = Job, __name = "job" }

-- What a step may say; the fields of `shared` may also be said once for all steps.
local step_fields = {
  mapper = "function", mapper_init = "function", mapper_final = "function", combiner = "function",
  reducer = "function", reducer_init = "function", reducer_final = "function", sort_values = "boolean",
  partitioner = "function", reducers = "integer", on_error = "policy", checkpoint = "boolean",
}
local shared = { "sort_values", "partitioner", "reducers", "on_error" }

local job_fields = { steps = "table", options = "table" }
for name, kind in pairs(step_fields) do job_fields[name] = kind end

-- What makes a step one, beside the settings.
local functions = {
  "mapper", "mapper_init", "mapper_final", "combiner", "reducer", "reducer_init", "reducer_final",
}

local function check_step(where, step)
  if not step.mapper and not step.reducer then check.misuse("%s has neither a mapper nor a reducer", where) end
  if not step.mapper and (step.mapper_init or step.mapper_final) then
    check.misuse("%s has mapper_init or mapper_final but no mapper", where)
  end
  if not step.reducer then
    for _, name in ipairs { "combiner", "reducer_init", "reducer_final", "sort_values", "partitioner", "reducers" } do
      if step[name] then check.misuse("%s has a %s but no reducer", where, name) end
    end
  end
end

-- One step as a plain table, with what the job says for all steps where the step says nothing.
local function read_step(where, step, job)
  local result = {}
  for name in pairs(step_fields) do result[name] = step[name] end
  check_step(where, result)
  for _, name in ipairs(shared) do
    if result[name] == nil and (result.reducer or name == "on_error") then result[name] = job[name] end
  end
  if result.checkpoint == nil then result.checkpoint = job.checkpoint end
  return result
end

local function read_options(options)
  for name, default in pairs(options or {}) do
    local kind = type(default)
    if type(name) ~= "string" or not name:find("^%a[%w_%-]*$") then
      check.misuse("job: '%s' cannot be the name of an option", tostring(name))
    elseif kind ~= "string" and kind ~= "number" and kind ~= "boolean" then
      check.misuse("job: option '%s' has a %s as default (string, number or boolean expected)", name, kind)
    end
  end
  return options or {}
end

--- Makes a job. A job file returns it; the program then runs it over the inputs named on the command line.
-- @function lb.job(definition)
-- @param definition table: `mapper(key, value, emit, task)`, `combiner(key, values, emit, task)`, `reducer(key, values, emit, task)`,
--   `mapper_init(task)`, `mapper_final(emit, task)`, `reducer_init(task)`, `reducer_final(emit, task)`, `sort_values` (boolean),
--   `partitioner(key, n)`, `reducers` (number of partitions, default 64), `on_error` ("fail" or "skip"), `checkpoint` (boolean: what
--   a step before the last gives is kept for `--resume`); or `steps`, a list of such tables; and `options`, a table of names and
--   defaults that become flags of the job
-- @return job: with the method `dataset(input)`
-- @raise neither a mapper nor a reducer; a field that no job has
-- @usage
-- return lb.job {
--   mapper = function(_, line, emit) emit(#line, 1) end,
--   reducer = function(length, ones, emit)
--     local n = 0
--     for one in ones do n = n + one end
--     emit(length, n)
--   end,
-- }
function module.job(t)
  if type(t) ~= "table" then check.bad("job", "t", "table", t) end
  check.options("job", t, job_fields)
  local steps = {}
  if t.steps then
    for _, name in ipairs(functions) do
      if t[name] then check.misuse("job: '%s' stands beside 'steps'; put it in one of them", name) end
    end
    if next(t.steps) == nil then check.misuse("job: 'steps' is empty") end
    local n = 0
    for _ in pairs(t.steps) do n = n + 1 end
    for i = 1, n do
      local step = t.steps[i]
      local where = ("step %d of job"):format(i)
      if type(step) ~= "table" then check.bad("job", ("steps[%d]"):format(i), "table", step) end
      check.options(where, step, step_fields)
      steps[i] = read_step(where, step, t)
    end
  else
    steps[1] = read_step("job", t, t)
  end
  return setmetatable({ _steps = steps, options = read_options(t.options) }, meta)
end

--- Whether a value is a job.
function module.is(value)
  return getmetatable(value) == meta
end

--- The job's output as a dataset.
-- @param input dataset|string|list: a dataset, or what lb.text takes
-- @return dataset: what the last step emits
-- @usage
-- local lengths = lb.job { mapper = function(_, line, emit) emit(#line, 1) end }
-- lengths:dataset("a.txt"):show()
function Job:dataset(input)
  if not dataset.is(input) then input = require("luabatch.source").text(input) end
  local node = input._node
  for i, step in ipairs(self._steps) do
    local function label(role) return ("%s of step %d"):format(role, i) end
    -- Records of one column have no key yet: a step without mapper must still make pairs of them.
    if step.mapper or node.columns ~= 2 then
      node = {
        op = "mapper", inputs = { node }, fn = step.mapper or builtin.identity_mapper, init = step.mapper_init,
        final = step.mapper_final, on_error = step.on_error, label = label("mapper"),
      }
    end
    if step.reducer then
      node = {
        op = "groups", is_step = true, inputs = { node }, fn = step.reducer, init = step.reducer_init,
        final = step.reducer_final, sort_values = step.sort_values, partitions = step.reducers,
        partitioner = step.partitioner, partitioner_label = label("partitioner"),
        combiner = step.combiner, combiner_label = label("combiner"),
        on_error = step.on_error, label = label("reducer"),
      }
    end
    -- What the last step gives is written at once.
    if step.checkpoint and i < #self._steps then node = dataset.new(node):checkpoint(("step %d"):format(i))._node end
  end
  return dataset.new(node)
end

-- "true", "yes"... as a boolean.
local booleans = {
  ["true"] = true, yes = true, on = true, ["1"] = true, ["false"] = false, no = false, off = false, ["0"] = false,
}

-- The text of an option in the type of its default, or nil and what was expected.
local function typed(default, text)
  if type(default) == "boolean" then
    if booleans[text] ~= nil then return booleans[text] end
    return nil, "true or false"
  elseif type(default) == "number" then
    local number = tonumber(text)
    if number then return number end
    return nil, "a number"
  end
  return text
end

--- Divides the arguments after a job file into options of the job and inputs.
-- @param args list of strings
-- @param other function(name, value, next) that may take an option that is not the job's: gives how many arguments it used, or nil
-- @return values of the options, inputs; or nil, message
function Job:parse(args, other)
  local values, inputs = {}, {}
  for name, default in pairs(self.options) do values[name] = default end
  local i = 1
  while i <= #args do
    local arg = args[i]
    if arg == "--" then
      for j = i + 1, #args do inputs[#inputs + 1] = args[j] end
      break
    end
    local name, text = arg:match("^%-%-([%w_%-]+)=(.*)$")
    name = name or arg:match("^%-%-(.+)$")
    local key = name and (values[name] ~= nil and name or name:gsub("%-", "_"))
    local negated = name and name:match("^no%-(.+)$")
    if negated and self.options[negated] == nil then negated = negated:gsub("%-", "_") end
    if not name and (arg == "-" or arg:sub(1, 1) ~= "-") then
      inputs[#inputs + 1] = arg
    elseif name and values[key] ~= nil then
      local default = self.options[key]
      if text == nil and type(default) == "boolean" then
        values[key] = true
      else
        if text == nil then
          i = i + 1
          text = args[i]
          if text == nil then return nil, ("option --%s of the job wants a value"):format(name) end
        end
        local value, expected = typed(default, text)
        if value == nil then
          return nil, ("option --%s of the job: %s expected, got '%s'"):format(name, expected, text)
        end
        values[key] = value
      end
    elseif negated and type(self.options[negated]) == "boolean" and text == nil then
      values[negated] = false
    else
      local used, message = other(arg, args[i + 1])
      if not used then return nil, message end
      i = i + used - 1
    end
    i = i + 1
  end
  return values, inputs
end

--- The job's options as lines of help.
function Job:help()
  local names, lines = {}, {}
  for name in pairs(self.options) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do
    lines[i] = ("  --%s=%s"):format(name, tostring(self.options[name]))
  end
  return table.concat(lines, "\n")
end

return module
