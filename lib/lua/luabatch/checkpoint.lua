--- Checkpoints: stages whose records are kept on disk until the job has ended well, so that one that was killed goes on from them.
--
-- An action first settles the checkpoints that its dataset stands on. Each is a run of its own, which writes the records into a
-- folder as `save` does and then adds a line to the journal there (src/core/io/journal.h): the fingerprint of the plan below
-- the checkpoint, its inputs with their sizes, times and inodes, checksums of the data, and what the run counted. With --resume a
-- checkpoint of which all of that still holds is not computed: its records are read, as they are read after it was computed. So the
-- bytes that a job writes are the same with and without a crash in between. Saves of datasets that stand on checkpoints have their line,
-- too: what a resumed job had written already stays as it is. When the job has ended well a line says so before anything is removed: a
-- job killed from then on has no finished checkpoints any more, though some of their data are still there, but its saves hold to the end.
--
-- The folder belongs to the job: its script, its arguments, the directory it was started in. One run at a time has it.
-- @module luabatch.checkpoint
local core = require "luabatch.core"
local fingerprint = require "luabatch.fingerprint"
local journal_line = require "luabatch.journal_line"
local runtime = require "luabatch.runtime"

local checkpoint = {}

local DEFAULT_DIR = ".luabatch-checkpoints"
-- Parts of data end beyond as many bytes: workers read them side by side.
local PART_BYTES = 16 * 1024 ^ 2

-- The journal of this process's job once it is open: `file`, `folder`, `lines`, the good ones of an earlier run, and `added`.
local journal

local function note(format, ...)
  local tell = runtime.settings.note
  if tell then tell(format:format(...)) end
end

-- A text as part of a file's name.
local function slug(text)
  return (text:gsub("[^%w_.-]", "_"):sub(1, 60))
end

-- What the job is: a name for people, and all that tells it from others.
local function identity()
  local job = runtime.settings.job
  if not job then
    local arg, list = _G.arg or {}, {}
    for i = 0, #arg do list[#list + 1] = tostring(arg[i] or "") end
    job = { name = list[1] or "lua", what = list }
  end
  return slug(job.name:match("([^/]*)$")) .. "-" .. core.hash(core.encode { core.working_directory(), job.what })
end

-- The names in the folder that the lines tell of.
local function names_of(lines)
  local names = {}
  for _, line in ipairs(lines) do
    if line.data and not line.is_gone then
      names[#names + 1] = line.data
      for _, reject in ipairs(line.rejects) do names[#names + 1] = reject.name end
    end
    if line.receipt then names[#names + 1] = line.receipt end
  end
  return names
end

-- Checkpoints before the last line that says that the job had ended.
local function forget_ended(lines)
  local has_ended = false
  for i = #lines, 1, -1 do
    lines[i].is_gone = has_ended
    has_ended = has_ended or lines[i].kind == "end"
  end
end

local function open()
  if journal then return journal end
  local folder = (runtime.setting "checkpoint-dir" or DEFAULT_DIR):gsub("(.)/+$", "%1") .. "/" .. identity()
  local file = core.journal(folder)
  local all, damaged = file:lines()
  local lines = {}
  for _, line in ipairs(all) do
    if journal_line.is_good(line) then lines[#lines + 1] = line else damaged = damaged + 1 end
  end
  if not runtime.setting "resume" then
    file:clear()
    lines = {}
  elseif damaged > 0 then
    note("%s/journal: %d damaged line%s passed over", folder, damaged, damaged == 1 and "" or "s")
  end
  if runtime.setting "resume" and #lines == 0 then
    note("nothing to resume: no finished checkpoint of this job (the same script, arguments and directory) is in %s",
      (folder:match("^(.*)/")))
  end
  forget_ended(lines)
  file:keep(names_of(lines))
  journal = { file = file, folder = folder, lines = lines, added = {} }
  return journal
end

local function add_line(line)
  journal.file:append(line)
  journal.added[#journal.added + 1] = line
end

-- Plans.

-- Nodes that end a walk down: their records are there.
local function is_there(node) return node.cache and node.cache.store end

-- Sources below a node: their types, which a run may have widened, and names, of which it may have found more.
local function sources_below(root)
  local list = {}
  for _, node in ipairs(fingerprint.nodes_below(root)) do
    if node.source then list[#list + 1] = node.source end
  end
  return list
end

-- Going on.

-- Checksums of the files of data in a folder of ours.
local function parts_of(name)
  local parts = {}
  for i, file in ipairs(core.expand_paths(journal.folder .. "/" .. name .. "/")) do
    local hash, size = core.file_hash(file.path)
    parts[i] = { name = file.path:match("[^/]*$"), size = size, hash = hash }
  end
  return parts
end

local function is_undamaged(line)
  local ok, parts = pcall(parts_of, line.data)
  if not ok or #parts ~= #line.parts then return false end
  for i, part in ipairs(line.parts) do
    local now = parts[i]
    if part.name ~= now.name or part.size ~= now.size or part.hash ~= now.hash then return false end
  end
  for _, reject in ipairs(line.rejects) do
    local found, hash = pcall(core.file_hash, journal.folder .. "/" .. reject.name)
    if not found or hash ~= reject.hash then return false end
  end
  return true
end

-- The last line of this checkpoint, or nil and one of the same name.
local function line_of(node)
  local found, other
  for _, line in ipairs(open().lines) do
    if line.kind == "checkpoint" and line.name == node.name then
      if line.plan == fingerprint.of_checkpoint(node).plan then found = line else other = line end
    end
  end
  return found, other
end

-- Checkpoints below one: what they counted is told when it is resumed, for they are not looked at then.
local function checkpoints_below(node)
  local list = {}
  for _, below in ipairs(fingerprint.nodes_below(node.inputs[1])) do
    if below.op == "checkpoint" then list[#list + 1] = below end
  end
  return list
end

-- What is wrong with a finished run that left out more than this one allows, or nil.
local function too_many_left_out(line)
  local most, left_out = runtime.setting "max-errors", line.info.skipped or 0
  if not most or left_out <= most then return nil end
  return ("leaves out %d record%s, and --max-errors allows %d"):format(left_out, left_out == 1 and "" or "s", most)
end

-- Why what a checkpoint counted cannot be counted again in place of its run, or nil.
local function counting_problem(node)
  if node.cache.store then return nil end
  local line = line_of(node)
  if not line then return ("what checkpoint '%s' counted is not known"):format(node.name) end
  local problem = too_many_left_out(line)
  return problem and ("checkpoint '%s' %s"):format(node.name, problem)
end

-- The line of a finished checkpoint, or nil and why there is none that holds.
local function find_line(node)
  local kept = fingerprint.of_checkpoint(node)
  local found, other = line_of(node)
  if not found then
    return nil, other and (other.version == core.version .. " " .. core.build and "its plan is another now"
      or "another version of luabatch made it")
  end
  if found.is_gone then return nil, "the job had ended, and they were being removed" end
  local same, why = fingerprint.same_inputs(found.inputs, kept.inputs, kept.unsure)
  if not same then return nil, why end
  if not is_undamaged(found) then return nil, "its data are damaged" end
  if not journal_line.fits(found, sources_below(node)) then return nil, "its columns are others" end
  for _, reject in ipairs(found.rejects) do
    if not kept.left_out[reject.to] then return nil, "it left out records to files that its plan does not name" end
  end
  local problem = too_many_left_out(found)
  if problem then return nil, "it " .. problem end
  for _, below in ipairs(checkpoints_below(node)) do
    problem = counting_problem(below)
    if problem then return nil, problem end
  end
  return found
end

-- From now on the records of the checkpoint are read.
local function keep(node, line)
  local kept = node.cache
  kept.paths = { journal.folder .. "/" .. line.data .. "/" }
  kept.rejects = {}
  for i, reject in ipairs(line.rejects) do
    kept.rejects[i] = { to = reject.to, file = journal.folder .. "/" .. reject.name }
  end
  kept.store = true
end

-- What a finished run counted and told is counted and told again.
local function go_on(action, node, line)
  for _, counter in ipairs(line.counters) do core.counter(counter[1]):add(counter[2]) end
  local info = { resumed = true, seconds = 0, stages = {}, records = line.records }
  for name, value in pairs(line.info) do info[name] = value end
  if runtime.settings.on_run then runtime.settings.on_run(action, info, node) end
end

local function count_again(node, line)
  if not node.cache.counted then go_on(node.label, node, line) end
  node.cache.counted = true
end

local function restore(node)
  if not runtime.setting "resume" then return false end
  local line, why = find_line(node)
  if not line then
    if why then note("checkpoint '%s' is computed anew: %s", node.name, why) end
    return false
  end
  for i, source in ipairs(sources_below(node)) do
    local saved = line.sources[i]
    local added = {}
    for k, name in ipairs(saved.names) do
      if not source.types[name] then added[#added + 1] = { name, saved.types[k] } end
    end
    require("luabatch.late").add(source, added)
    for k, name in ipairs(saved.names) do source.types[name] = saved.types[k] end
  end
  for _, below in ipairs(checkpoints_below(node)) do
    if not below.cache.store then count_again(below, line_of(below)) end
  end
  keep(node, line)
  note("checkpoint '%s': resumed, %d record%s", node.name, line.records, line.records == 1 and "" or "s")
  count_again(node, line)
  return true
end

-- Computing.

local function sink_of(node, data)
  local write = runtime.write_sink(journal.folder .. "/" .. data .. "/", "native", { mode = "overwrite" })
  return function(builder, stream, below)
    local n = write(builder, stream, below)
    builder.nodes[n].label, builder.nodes[n].part_bytes = node.label, PART_BYTES
    return n
  end
end

-- What the run counted, as a list of pairs in the order of names.
local function counted_since(before)
  local list = {}
  for name, value in pairs(core.counters()) do
    if value ~= (before[name] or 0) then list[#list + 1] = { name, value - (before[name] or 0) } end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  return list
end

local function make(node)
  local kept = fingerprint.of_checkpoint(node)
  open()
  local data = slug(node.name) .. "-" .. kept.plan
  local before = core.counters()
  -- Records that are left out wait beside the data for the run that uses them.
  local rejects = {}
  local function redirect(to)
    for _, reject in ipairs(rejects) do
      if reject.to == to then return journal.folder .. "/" .. reject.name end
    end
    local name = ("%s.left-out-%d"):format(data, #rejects + 1)
    rejects[#rejects + 1] = { to = to, name = name }
    return journal.folder .. "/" .. name
  end
  local result, info = runtime.run(node.label, node.inputs[1], sink_of(node, data), nil, redirect)
  local counted = counted_since(before)
  -- One above it was resumed, this one is needed all the same, and its data are gone.
  for _, counter in ipairs(kept.counted and counted or {}) do core.counter(counter[1]):add(-counter[2]) end
  kept.counted = true
  for _, reject in ipairs(rejects) do reject.hash = core.file_hash(journal.folder .. "/" .. reject.name) end
  local line = {
    kind = "checkpoint", name = node.name, plan = kept.plan, version = core.version .. " " .. core.build,
    inputs = kept.inputs or {}, data = data, parts = parts_of(data), records = result.n, rejects = rejects,
    counters = counted, sources = {}, info = { skipped = info.skipped, skips = info.skips },
  }
  for i, source in ipairs(sources_below(node)) do
    local names, types = {}, {}
    for name in pairs(source.types) do names[#names + 1] = name end
    table.sort(names)
    for k, name in ipairs(names) do types[k] = source.types[name] end
    line.sources[i] = { names = names, types = types }
  end
  add_line(line)
  keep(node, line)
end

--- Computes the checkpoints that a node stands on, or finds that they are finished.
-- @param root logical node
function checkpoint.settle(root)
  local seen = {}
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    if is_there(node) then return end
    local is_one = node.op == "checkpoint"
    if is_one and restore(node) then return end
    for _, input in ipairs(node.inputs or {}) do visit(input) end
    if is_one then make(node) end
  end
  visit(root)
end

--- Files of records that settled checkpoints left out, and where these are to go in the end.
-- @param root logical node
-- @return list of `{ to, file }`
function checkpoint.rejects(root)
  local list, seen = {}, {}
  local function visit(node)
    if seen[node] then return end
    seen[node] = true
    if is_there(node) then
      for _, reject in ipairs(node.cache.rejects or {}) do list[#list + 1] = reject end
      return
    end
    for _, input in ipairs(node.inputs or {}) do visit(input) end
  end
  visit(root)
  return list
end

-- Saves.

local function stands_on_checkpoint(root)
  for _, node in ipairs(fingerprint.nodes_below(root)) do
    if node.op == "checkpoint" then return true end
  end
  return false
end

-- The files that a save wrote. Of a directory with folders only the one that tells of its end is looked at. No stamps: a save that
-- adds to a directory gives the files there a second name for a moment, which alters them. By their names below the path, which
-- another save may spell in another way.
local function saved_files(path)
  local files, paths = {}, { path }
  if path:sub(-1) == "/" then paths[2] = path .. "_SUCCESS" end
  for i, file in ipairs(core.expand_paths(paths)) do
    if not file.is_regular then return nil end
    files[i] = { path = file.path:sub(#path + 1), size = file.size, changed = file.changed }
  end
  return files
end

-- Counts what the checkpoints below a save counted. False: not all of that is known, or one left out too many.
local function count_all_again(root)
  local list = {}
  for _, node in ipairs(fingerprint.nodes_below(root)) do
    if node.op == "checkpoint" then list[#list + 1] = node end
  end
  for _, node in ipairs(list) do
    if counting_problem(node) then return false end
  end
  for _, node in ipairs(list) do
    if not node.cache.store then count_again(node, line_of(node)) end
  end
  return true
end

-- How often each save, by its plan, was made in this run: a script may add the same records to the same file twice.
local turns = {}

-- The files at a path now; empty when there are none that can be looked at.
local function files_now(path)
  local ok, files = pcall(saved_files, path)
  return ok and files or {}
end

-- Whether a save that had begun has given its output the name: its receipt tells.
local function is_committed(line)
  return line.kind == "begin" and line.receipt ~= nil and core.output_received(line.path, journal.folder .. "/" .. line.receipt)
end

-- Where paths lead, by their text: a job may spell one in several ways.
local places = {}

local function place_of(path)
  places[path] = places[path] or core.real_path(path) .. (path:sub(-1) == "/" and "/" or "")
  return places[path]
end

local function is_to(line, path)
  return line.path ~= nil and (line.path == path or place_of(line.path) == place_of(path))
end

-- Lines of saves to a path, of earlier runs and of this one; and for those whose records a later save has replaced the last such line.
local function lines_of_path(path)
  local list, replaced_by = {}, {}
  for _, lines in ipairs { open().lines, journal.added } do
    for _, line in ipairs(lines) do
      if is_to(line, path) then
        if line.renews and (line.kind == "save" or is_committed(line)) then
          for _, before in ipairs(list) do replaced_by[before] = line end
        end
        list[#list + 1] = line
      end
    end
  end
  return list, replaced_by
end

-- The last line that tells of this save, if it has one of its end that one: a run that made it once more may have been killed, too. And
-- the line of what has replaced its records, or nil.
local function line_of_save(path, plan, turn)
  local list, replaced_by = lines_of_path(path)
  local begun
  for i = #list, 1, -1 do
    local line = list[i]
    if line.plan == plan and line.turn == turn then
      if line.kind == "save" or is_committed(line) then return line, replaced_by[line] end
      begun = begun or line
    end
  end
  return begun, begun and replaced_by[begun]
end

-- Whether this run has come to the save of a line.
local function is_asked(line) return line.turn <= (turns[line.plan] or 0) end

-- Whether the job's own saves have made of a path what it is now: several may add to it, one after the other.
local function is_ours(path)
  local last
  for _, line in ipairs(open().lines) do
    if is_to(line, path) then last = line end
  end
  return fingerprint.same_files(last.files, files_now(path)) or is_committed(last)
end

-- Whether an earlier run wrote records to a path, by a save for which this run has not asked; by one that began it, if that is wanted.
local function has_others(path, must_renew)
  local list, replaced_by = lines_of_path(path)
  for _, line in ipairs(list) do
    local counts = not replaced_by[line] and not is_asked(line) and (line.renews or not must_renew)
    if counts and (line.kind == "save" or is_committed(line)) then return true end
  end
  return false
end

-- Whether all that stands at a path is the job's own: nothing was there before its first save.
local function is_all_ours(path)
  local first = lines_of_path(path)[1]
  return first ~= nil and #first.files == 0 and is_ours(path)
end

-- A save of the killed run has its line, or stood just before: then an output is there without one.
-- @return the line when the save is finished, and whether its records are known; the mode in which to save otherwise
local function find_save(action, node, path, mode, plan, turn)
  local files, line, replaced_by = files_now(path), line_of_save(path, plan, turn)
  if replaced_by then
    -- What has replaced its records stands before it in the job, or follows and replaces what is there once more.
    if is_asked(replaced_by) then return nil, false, mode end
    if #files == 0 or is_ours(path) then return nil, false, "overwrite" end
    if mode ~= "append" then return nil, false, mode end
    error(("%s: %s has changed since the job that was killed wrote it"):format(action, path), 0)
  end
  if not line then
    if mode == "append" and #files > 0 and has_others(path) then
      error(("%s: the job that was killed added its records to %s already, and its plan is another now: they would stay there")
        :format(action, path), 0)
    end
    return nil, false, mode == "ignore" and has_others(path, true) and is_all_ours(path) and "overwrite" or mode
  end
  local is_done = line.kind == "save"
  local same, why = fingerprint.same_inputs(line.inputs, fingerprint.files(node))
  if not same then
    if mode == "append" and #files > 0 and (is_done or is_committed(line)) then
      error(("%s: the job that was killed added its records to %s already, and %s: they would be there twice")
        :format(action, path, why), 0)
    end
    return nil, false, mode == "ignore" and is_all_ours(path) and "overwrite" or mode
  end
  if mode == "append" and (is_done and #files > 0 or not is_done and not fingerprint.same_files(line.files, files)) then
    if not is_ours(path) then
      error(("%s: %s has changed since the job that was killed %s: whether its records are there is not known"):format(action,
        path, is_done and "added to it" or "began to add to it"), 0)
    end
    return line, is_done, mode
  end
  if is_done and (fingerprint.same_files(line.files, files) or mode ~= "append" and is_ours(path)) or is_committed(line) then
    return line, is_done, mode
  end
  -- What came to the path since the save began is not known to be its own: then mode "error" says that it is there.
  if not is_done and #line.files == 0 and #files > 0 and mode ~= "ignore" and is_ours(path) then
    note("%s: %s is written again", action, path)
    return nil, false, "overwrite"
  end
  return nil, false, mode
end

-- What a save counts that is there already: it is made once more, into a folder of ours.
local function count_save(path, run)
  local scratch = journal.folder .. "/again-" .. path:match("([^/]*/?)$")
  local n, info = run("overwrite", nil, scratch)
  local names = names_of(journal.lines)
  for _, name in ipairs(names_of(journal.added)) do names[#names + 1] = name end
  journal.file:keep(names)
  return n, info
end

--- Runs a save, unless it is one that the job had finished before it was killed.
-- @param action its name
-- @param node logical node
-- @param path where to
-- @param what encodable: format and options
-- @param mode of the options
-- @param run function(mode, receipt, elsewhere) that does it, with a receipt, and maybe at another path, and gives the number of
--   records and the run's info
-- @return number of records
function checkpoint.save(action, node, path, what, mode, run)
  if runtime.settings.check or path == "-" or not stands_on_checkpoint(node) then
    return runtime.wanted(path, mode) and (run(mode)) or 0
  end
  local plan = fingerprint.plan(node, { path, what })
  local turn = (turns[plan] or 0) + 1
  turns[plan] = turn
  local line, is_known
  if runtime.setting "resume" then
    core.sweep_output(path) -- no save may follow that would
    line, is_known, mode = find_save(action, node, path, mode, plan, turn)
    is_known = is_known and not too_many_left_out(line) -- or the run tells which record is too many
    -- The data of its checkpoints may be gone, or not needed any more.
    if is_known and count_all_again(node) then
      note("%s: %s is written already, %d record%s", action, path, line.records, line.records == 1 and "" or "s")
      go_on(action, node, line)
      return line.records
    end
  end
  -- With "ignore" what stands there is left, unless a killed run of the job wrote it: find_save knew.
  if not line and not runtime.wanted(path, mode) then return 0 end
  local inputs = fingerprint.files(node) -- before anything reads them
  checkpoint.settle(node)
  if is_known then
    go_on(action, node, line)
    return line.records
  end
  local before = core.counters()
  open()
  local n, info
  local renews = mode ~= "append" or #files_now(path) == 0
  if line then
    renews = line.kind == "begin" and line.renews
    n, info = count_save(path, run)
    note("%s: %s is written already, %d record%s", action, path, n, n == 1 and "" or "s")
  else
    local receipt = ("receipt-%s-%d"):format(plan, turn)
    add_line {
      kind = "begin", plan = plan, turn = turn, path = path, inputs = inputs, files = files_now(path), receipt = receipt,
      renews = renews,
    }
    n, info = run(mode, journal.folder .. "/" .. receipt)
  end
  local files = files_now(path)
  if #files > 0 then
    add_line {
      kind = "save", plan = plan, turn = turn, inputs = inputs, path = path, files = files, records = n, renews = renews,
      counters = counted_since(before), info = { skipped = info.skipped, skips = info.skips },
    }
  end
  return n
end

-- The end.

--- The job has ended well: its checkpoints are removed. They stay when what it printed cannot be written.
function checkpoint.finish()
  if not journal or not core.is_printed() then return end
  -- Without the line, on a disk that is full, a kill within the next moment costs a computation.
  if checkpoint.kept() then pcall(add_line, { kind = "end" }) end
  journal.file:remove(runtime.setting "checkpoint-dir" == nil)
  journal.file:close()
  journal, turns = nil, {}
end

--- What a job that failed leaves for --resume, as a note; nil: nothing that was finished.
-- @return string, or nil
function checkpoint.kept()
  local has_saves = false
  for _, lines in ipairs(journal and { journal.lines, journal.added } or {}) do
    for _, line in ipairs(lines) do
      if line.kind == "checkpoint" and not line.is_gone then
        return ("finished checkpoints are kept in %s: --resume goes on from them"):format(journal.folder)
      end
      has_saves = has_saves or line.kind == "save" or is_committed(line)
    end
  end
  return has_saves and ("finished saves are listed in %s: --resume does not repeat them"):format(journal.folder) or nil
end

return checkpoint
