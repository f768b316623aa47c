--- Runs the program as a user does. LUABATCH names it (default: the release build).
local support = {}

support.program = os.getenv("LUABATCH") or "build/release/luabatch"

-- Whether the program is built for LuaJIT; it names variables and the frames of tracebacks otherwise.
support.on_luajit = jit ~= nil -- luacheck: globals jit (the specs run inside the program)

local files = {}

--- A path where nothing is yet, removed by clean.
function support.path(suffix)
  local path = os.tmpname()
  os.remove(path)
  path = path .. (suffix or "")
  files[#files + 1] = path
  return path
end

--- A file with this content, removed by clean.
function support.file(content, suffix)
  local path = support.path(suffix)
  local file = assert(io.open(path, "wb"))
  file:write(content)
  file:close()
  return path
end

function support.read(path)
  local file = assert(io.open(path, "rb"))
  local content = file:read("a")
  file:close()
  return content
end

function support.clean()
  for i = #files, 1, -1 do
    local is_gone, _, code = os.remove(files[i])
    if not is_gone and code ~= 2 then os.execute("rm -rf '" .. files[i] .. "'") end -- a folder with files; 2: it is not there
    files[i] = nil
  end
end

--- A string as one word of the shell.
function support.quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

-- What a test is started from may ignore signals (nohup, a daemon), which all it starts would inherit.
local SIGNALS = "env --default-signal=HUP,INT,QUIT,PIPE,TERM "

--- Runs a line of shell in which `luabatch` is the program; `$status` may be set by the line, otherwise it is the last command's.
-- @return status, standard output, standard error
function support.shell(line)
  local out, err, script = os.tmpname(), os.tmpname(), os.tmpname()
  local file = assert(io.open(script, "w"))
  file:write("luabatch() { ", support.quote(support.program), " \"$@\"; }\n", line, "\n")
  file:close()
  local status, _, code = os.execute(("%sbash '%s' > '%s' 2> '%s' < /dev/null"):format(SIGNALS, script, out, err))
  if type(status) == "number" then code = math.floor(status / 256) end -- LuaJIT's has one result, that of wait()
  local printed, told = support.read(out), support.read(err)
  for _, path in ipairs { out, err, script } do os.remove(path) end
  return code, printed, told
end

--- An empty folder, removed by clean.
-- @return its path, sh(line, ...), which runs a line of shell in it (formatted, if there is more), and write(name, text)
function support.folder(suffix)
  local folder = support.path(suffix)
  os.execute("mkdir -p " .. support.quote(folder))
  local function sh(line, ...)
    if select("#", ...) > 0 then line = line:format(...) end
    return support.shell(("cd %s || exit\n%s"):format(support.quote(folder), line))
  end
  local function write(name, text)
    local file = assert(io.open(folder .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  return folder, sh, write
end

--- A path that holds wherever one stands.
function support.absolute(path)
  if path:sub(1, 1) == "/" then return path end
  local pipe = assert(io.popen("pwd"))
  local directory = pipe:read("l")
  pipe:close()
  return directory .. "/" .. path
end

--- Runs the program with arguments.
-- @return status, standard output, standard error
function support.run(...)
  local words = { "luabatch" }
  for _, word in ipairs { ... } do words[#words + 1] = support.quote(word) end
  return support.shell(table.concat(words, " "))
end

--- Runs the program with arguments in the background, and sends it signals when it is ready; it is killed (137) when it has
-- not ended a minute after them. SIGINT comes ignored, as shells have it there.
-- @param signals their names, sent one at once after the other: "INT", "INT INT"
-- @param ready a condition of shell; `$out` and `$err` are the files of what the program has written. After a minute it counts as true
-- @return status, standard output, standard error
function support.signal(signals, ready, ...)
  local words, out, err = { support.quote(support.program) }, support.path(), support.path()
  for _, word in ipairs { ... } do words[#words + 1] = support.quote(word) end
  local status = support.shell(([[
out=%s err=%s
%s > $out 2> $err & pid=$!
n=0
until %s || [ $n = 1200 ] || ! kill -0 $pid; do sleep 0.05; n=$((n + 1)); done
for signal in %s; do kill -$signal $pid; done
n=0
while kill -0 $pid; do
  sleep 0.05
  n=$((n + 1))
  [ $n != 1200 ] || kill -KILL $pid
done
wait $pid]]):format(out, err, table.concat(words, " "), ready, signals))
  return status, support.read(out), support.read(err)
end

return support
