--- The blocks of code of a page of docs/, run as a reader would run them.
--
-- FORMAT  A ```sh block is run by the shell, a ```lua block by the program, each in the page's own directory, in which `examples` is that
--         of the sources; blocks see what those before them have written. A ```lua block whose first line is a comment with nothing
--         but a file's name is written to that file instead. A ```text block that follows with only blank lines between is the
--         expected output, standard error after standard output; without it nothing may be printed. "```text exit 4" expects that status.
local cli = require "tests.cli.support"

local page = {}

--- The blocks of a page, in order.
-- @return list of `{ kind = "sh"|"lua", code =, line =, file = name or nil, output =, status =, title = of the section }`
function page.blocks(path)
  local blocks, current, title, last, number = {}, nil, "", nil, 0
  for line in (cli.read(path) .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    local fence = line:match("^```(.*)$")
    if current and fence == "" then
      current.code = table.concat(current.lines, "\n") .. "\n"
      if current.kind == "text" then
        if last then
          last.output, last.status = current.code, tonumber(current.info:match("exit (%d+)")) or 0
          last.output_lines = { current.line, number }
        end
        last = nil
      else
        local name = current.kind == "lua" and current.lines[1] and current.lines[1]:match("^%-%- ([%w_]+%.lua)$")
        current.file, current.output, current.status, current.title, current.to = name, "", 0, title, number
        if current.kind == "sh" or current.kind == "lua" then
          blocks[#blocks + 1] = current
          last = not name and current or nil
        else
          last = nil
        end
      end
      current = nil
    elseif current then
      table.insert(current.lines, line)
    elseif fence then
      current = { kind = fence:match("^%a*"), info = fence, lines = {}, line = number }
    else
      title = line:match("^#+ (.*)$") or title
      if line ~= "" then last = nil end
    end
  end
  return blocks
end

--- Runs the blocks of a page in a new directory; each gets what it printed as `printed`, and `left`, the status it left with.
function page.run(blocks)
  local directory = cli.path "-page"
  local program = cli.absolute(cli.program)
  os.execute(("mkdir -p '%s/place' '%s/bin' && ln -s '%s' '%s/bin/luabatch' && ln -s '%s' '%s/place/examples'"):format(
    directory, directory, program, directory, cli.absolute "examples", directory))
  local script = { ("cd '%s/place' && PATH='%s/bin':$PATH"):format(directory, directory), "export LUABATCH_PROGRESS=never" }
  for i, block in ipairs(blocks) do
    local source = ("%s/%d.%s"):format(directory, i, block.kind)
    local file = assert(io.open(source, "w"))
    file:write(block.code)
    file:close()
    if block.file then
      script[#script + 1] = ("cp '%s' '%s'"):format(source, block.file)
    elseif block.kind == "sh" then
      script[#script + 1] = ("bash '%s' >'%s.out' 2>'%s.err' </dev/null; echo $? >'%s.status'"):format(source, source, source, source)
    else
      script[#script + 1] = ("cp '%s' recipe.lua; luabatch recipe.lua >'%s.out' 2>'%s.err' </dev/null; echo $? >'%s.status'"):format(
        source, source, source, source)
    end
  end
  local file = assert(io.open(directory .. "/all.sh", "w"))
  file:write(table.concat(script, "\n"), "\n")
  file:close()
  os.execute(("bash '%s/all.sh'"):format(directory))
  for i, block in ipairs(blocks) do
    if not block.file then
      local source = ("%s/%d.%s"):format(directory, i, block.kind)
      block.printed, block.left = cli.read(source .. ".out") .. cli.read(source .. ".err"), tonumber(cli.read(source .. ".status"))
    end
  end
end

return page
