# luabatch: see README.md for the two commands a newcomer needs.
# MODE picks the build: release (default), debug (tiny limits), asan, ubsan, tsan, coverage, fuzz (by clang).
MODE   ?= release
BUILD  ?= build
# LUAJIT=1 builds for LuaJIT instead of Lua 5.4, beside the other; they share the objects of the core.
CORE   := $(BUILD)/$(MODE)
OUT    := $(CORE)$(if $(LUAJIT),-luajit)
PREFIX ?= /usr/local
CC     := $(if $(filter fuzz,$(MODE)),clang,gcc)
CXX    := $(if $(filter fuzz,$(MODE)),clang++,g++)
PYTHON ?= python3

ifdef LUAJIT
LUA_CFLAGS := $(shell pkg-config --cflags luajit 2>/dev/null || echo -I/usr/include/luajit-2.1)
LUA_A      := $(shell pkg-config --variable=libdir luajit 2>/dev/null)/libluajit-5.1.a
LUA_ABI    := 5.1
else
LUA_CFLAGS := $(shell pkg-config --cflags lua5.4 2>/dev/null || echo -I/usr/include/lua5.4)
LUA_A      := $(shell pkg-config --variable=libdir lua5.4 2>/dev/null)/liblua5.4.a
LUA_ABI    := 5.4
endif
LIBS       := -luv -llz4 -lzstd -lz -lbz2 -lxxhash -lpcre2-8 -lmd -lstdc++ -lm -ldl -lpthread

VERSION  := 0.1.0
# The commit that is built, for --version; a source tarball carries it in a file. A new commit makes module.c anew.
COMMIT   := $(or $(shell git describe --always --dirty --abbrev=10 --exclude '*' 2>/dev/null),$(shell cat .commit 2>/dev/null),unknown)
$(shell mkdir -p $(OUT) && { echo $(COMMIT) | cmp -s - $(OUT)/commit || echo $(COMMIT) >$(OUT)/commit; })
WARN     := -Wall -Wextra -Wshadow -Wmissing-prototypes -Werror
comma    := ,
CPPFLAGS := -D_GNU_SOURCE -Isrc -Iinclude -DLB_VERSION='"$(VERSION)"'
# What makes a bug in the release build harder to use by who writes the data: SECURITY.md, tests/cli/hardening_spec.lua.
CFLAGS_release  := -O2 -g -fno-plt -fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
LDFLAGS_release := -Wl,-z,relro,-z,now,-z,noexecstack
CFLAGS_debug   := -O1 -g -DLB_TINY -DLB_DEBUG
CFLAGS_asan    := -O1 -g -DLB_TINY -DLB_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
CFLAGS_ubsan   := -O1 -g -DLB_TINY -DLB_DEBUG -fsanitize=undefined -fno-sanitize-recover=undefined
CFLAGS_fuzz    := $(subst address,fuzzer-no-link$(comma)address,$(CFLAGS_asan)) -Wno-gnu-variable-sized-type-not-at-end
CFLAGS_tsan    := -O1 -g -DLB_TINY -DLB_DEBUG -fsanitize=thread
CFLAGS_coverage  := -O0 -g -DLB_TINY -DLB_DEBUG --coverage -fprofile-update=atomic
LDFLAGS_coverage := --coverage
CFLAGS   := -std=c11 -fPIC -fno-strict-aliasing -fno-math-errno $(CFLAGS_$(MODE))
CXXFLAGS := -std=c++17 -fPIC -Wall -Wextra -Werror $(CFLAGS_$(MODE))
LDFLAGS  := $(filter -fsanitize%,$(CFLAGS_$(MODE))) $(LDFLAGS_$(MODE))
# Objects are made anew when this changes. A first stamp is old: it says nothing about objects that are there.
FLAGS    := $(CC) $(CXX) $(CPPFLAGS) $(WARN) $(CFLAGS) $(CXXFLAGS) $(LDFLAGS)
ifeq ($(wildcard $(CORE)/flags),)
$(shell mkdir -p $(CORE))$(file >$(CORE)/flags,$(FLAGS))$(shell touch -d @0 $(CORE)/flags)
else ifneq ($(file <$(CORE)/flags),$(FLAGS))
$(file >$(CORE)/flags,$(FLAGS))
endif

CORE_C   := $(sort $(wildcard src/core/*/*.c))
CORE_CC  := $(sort $(wildcard src/core/*/*.cc))
BIND_C   := $(sort $(wildcard src/lua_bindings/*.c))
OBJ      := $(patsubst src/%,$(CORE)/obj/%.o,$(CORE_C) $(CORE_CC)) $(patsubst src/%,$(OUT)/obj/%.o,$(BIND_C))
MAIN_OBJ := $(OUT)/obj/main.c.o $(OUT)/obj/program/deadline.c.o $(OUT)/obj/program/terminal.c.o $(OUT)/obj/program/collector.c.o $(OUT)/obj/embedded.c.o
# How Lua's collector is timed: program/collector.c.
WRAP     := $(if $(LUAJIT),,-Wl,--wrap=luaC_step,--wrap=luaC_fullgc)
LUA_LIB  := $(sort $(wildcard lib/lua/*/*.lua))

# Rooms in the order of the include rule; a room's tests link it and those before it.
ROOMS_base   := base
ROOMS_column := base column
ROOMS_io     := base column io
ROOMS_expr   := base column expr
ROOMS_algo   := base column io expr algo
ROOMS_ops    := base column io expr algo ops
ROOMS_exec   := base column io expr algo ops exec
ROOMS_plan   := base column io expr algo ops exec plan
room_objs = $(foreach r,$(ROOMS_$(1)),$(patsubst src/%,$(CORE)/obj/%.o,$(wildcard src/core/$(r)/*.c) $(wildcard src/core/$(r)/*.cc)))
TESTS_C := $(sort $(wildcard tests/c/*/test_*.c))
TEST_BINS := $(patsubst tests/c/%.c,$(OUT)/tests/%,$(TESTS_C))

.PHONY: safe build module debug asan ubsan tsan c-tests test test-all lint coverage analyze valgrind format oracle fault soak bench fuzz fuzz-targets rock docs install deb dist clean
build: $(OUT)/luabatch
debug asan ubsan tsan:
	+$(MAKE) MODE=$@ build

$(OUT)/luabatch: $(OBJ) $(MAIN_OBJ)
	$(CC) -pie $(LDFLAGS) -o $@ $^ -Wl,--export-dynamic $(WRAP) -Wl,--whole-archive $(LUA_A) -Wl,--no-whole-archive -ledit $(LIBS)

# The Lua library goes into the program, which is therefore one file.
$(OUT)/obj/embedded.c: scripts/embed_lua.sh $(LUA_LIB)
	@mkdir -p $(@D)
	scripts/embed_lua.sh lib/lua > $@.tmp && mv $@.tmp $@
$(OUT)/obj/embedded.c.o: $(OUT)/obj/embedded.c $(CORE)/flags
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -c -o $@ $<
# The engine as a module for any Lua 5.4 (LUAJIT=1: LuaJIT): LUA_PATH='lib/lua/?.lua;lib/lua/?/init.lua' LUA_CPATH='$(OUT)/lua/?.so'.
module: $(OUT)/lua/luabatch/core.so $(OUT)/lua/luabatch/terminal.so
$(OUT)/lua/luabatch/core.so: $(OBJ)
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -shared -o $@ $^ $(LIBS)

$(OUT)/lua/luabatch/terminal.so: $(OUT)/obj/program/terminal.c.o
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) -shared -o $@ $^ -ledit

$(OUT)/obj/lua_bindings/module.c.o: $(OUT)/commit
$(OUT)/obj/lua_bindings/module.c.o: CPPFLAGS += -DLB_COMMIT='"$(COMMIT)"' -DLB_MODE='"$(MODE)"'

$(CORE)/obj/core/%.c.o: src/core/%.c $(CORE)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) -MMD -MP -c -o $@ $<
$(OUT)/obj/%.c.o: src/%.c $(CORE)/flags
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(LUA_CFLAGS) $(WARN) $(CFLAGS) -MMD -MP -c -o $@ $<
$(CORE)/obj/core/%.cc.o: src/core/%.cc $(CORE)/flags
	@mkdir -p $(@D)
	$(CXX) $(CPPFLAGS) $(CXXFLAGS) -MMD -MP -c -o $@ $<

.SECONDEXPANSION:
c-tests: $(TEST_BINS)
$(OUT)/tests/%: tests/c/%.c $$(call room_objs,$$(firstword $$(subst /, ,$$*)))
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(WARN) $(CFLAGS) $(LDFLAGS) -MMD -MP -MT $@ -MF $@.d -o $@ \
	    $(filter %.c %.o,$^) -lcmocka $(LIBS)
# The bindings' tests have Lua, whole, as the program does.
$(OUT)/tests/lua_bindings/%: tests/c/lua_bindings/%.c $(OBJ)
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(LUA_CFLAGS) $(WARN) $(CFLAGS) $(LDFLAGS) -MMD -MP -MT $@ -MF $@.d -o $@ \
	    $(filter %.c %.o,$^) -Wl,--export-dynamic -Wl,--whole-archive $(LUA_A) \
	    -Wl,--no-whole-archive -lcmocka $(LIBS)

# Fuzz targets: with libFuzzer (MODE=fuzz), else with a main that replays files. The archive gives each what it needs.
FUZZ_BINS := $(patsubst tests/fuzz/fuzz_%.c,$(OUT)/fuzz/%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
fuzz-targets: $(FUZZ_BINS)
$(OUT)/libluabatch.a: $(OBJ) $(OUT)/obj/embedded.c.o
	rm -f $@ && $(AR) rcsT $@ $^
$(OUT)/fuzz/%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(OUT)/libluabatch.a
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(LUA_CFLAGS) $(WARN) $(CFLAGS) $(LDFLAGS) -MMD -MP -MF $@.d -MT $@ -o $@ \
	    $(if $(filter fuzz,$(MODE)),-fsanitize=fuzzer $<,$(filter %.c,$^)) $(OUT)/libluabatch.a \
	    -Wl,--export-dynamic -Wl,--whole-archive $(LUA_A) -Wl,--no-whole-archive $(LIBS)
# make soak [SEEDS=5] [ROWS=6000] [KILLS=600] [SEED=1] [LIMITS=64,128,512]: the same bytes for any number of threads and any memory
# (tests/soak/run.lua), jobs killed at random moments (tests/fault/kill.py), data ten times the memory limit in MB (tests/soak/memory.py),
# huge records (tests/soak/large.py), and joins of a hot key (tests/soak/joins.py).
soak: LIMITS ?= 64,128,512
soak: build
	$(OUT)/luabatch --quiet tests/soak/run.lua seeds=$(SEEDS) first=$(SEED) rows=$(ROWS)
	python3 tests/fault/kill.py $(OUT)/luabatch --kills $(or $(KILLS),600) $(if $(SEED),--seed $(SEED))
	python3 tests/soak/memory.py $(OUT)/luabatch --limits $(LIMITS)
	python3 tests/soak/large.py $(OUT)/luabatch
	python3 tests/soak/large.py $(OUT)/luabatch --safe
	python3 tests/soak/joins.py $(OUT)/luabatch $(if $(SEED),--seed $(SEED))

# make fuzz [TARGET=csv] [SECONDS=1200] [JOBS=2]: looks for new failures; see tests/fuzz/run.
fuzz:
	scripts/deps fuzz
	+$(MAKE) MODE=fuzz fuzz-targets
	tests/fuzz/run $(BUILD)/fuzz/fuzz $(or $(SECONDS),1200) $(or $(JOBS),2) $(TARGET)

# All that safe mode is to withstand; scripts/test takes a part.
safe: build
	LB_SAFE=all LUABATCH=$(OUT)/luabatch $(OUT)/luabatch $$(command -v busted) --output=plainTerminal tests/cli/safe_spec.lua

# scripts/test says what runs in which build; test-all runs everything in every build.
test:
	scripts/test
test-all:
	scripts/test --all
lint:
	scripts/lint
# Which lines of src/core the tests run.
coverage:
	BUILD=$(BUILD) scripts/coverage
# cppcheck, gcc's analyser and valgrind; many minutes. Valgrind alone: the C tests, some Lua tests, a job of each kind.
analyze:
	BUILD=$(BUILD) scripts/analyze
valgrind:
	BUILD=$(BUILD) scripts/analyze valgrind
format:
	clang-format -i $$(find src include tests bench -name '*.[ch]' -o -name '*.cc')

# make oracle [N=2000] [SEED=1] [FIRST=1] [PEER=sqlite|duckdb]: random plans compared with sqlite3 and DuckDB.
oracle: build
	$(OUT)/luabatch tests/oracle/run.lua n=$(N) seed=$(SEED) first=$(FIRST) peer=$(PEER)

# make fault [FULL=1] [SEED=1] [JOBS=2]: allocations and system calls fail, spill files are damaged, disks are full. Of each kind of
# call 40 are tried in each job, others with another SEED; FULL (hours): every one, and of Lua's allocations 1000.
fault:
	+$(MAKE) MODE=asan build
	LUABATCH=$(BUILD)/asan/luabatch; export LUABATCH; \
	$$LUABATCH tests/fault/run.lua list | xargs -P $(or $(JOBS),2) -I{} \
	    $$LUABATCH tests/fault/run.lua {} $(if $(FULL),n=all lua=1000,n=40) seed=$(SEED)
	python3 tests/fault/kill.py $(BUILD)/asan/luabatch --kills 0 --signals 0 --rows 60 --calls $(if $(FULL),all,40) $(if $(SEED),--seed $(SEED))
	LUABATCH=$(BUILD)/asan/luabatch; export LUABATCH; LB_SEED=$(SEED) LB_EFFORT=$(if $(FULL),30,3); export LB_SEED LB_EFFORT; \
	for spec in damage limits; do $$LUABATCH $$(command -v busted) tests/fault/$${spec}_spec.lua || exit 1; done

# make bench [SCALE=0.01] [RUNS=1] [WORKLOADS="sort group"]; BENCH_DATA says where the inputs lie.
bench: build
	bench/setup
	LUABATCH=$(abspath $(OUT))/luabatch bench/run --scale $(or $(SCALE),1) --runs $(or $(RUNS),3) $(WORKLOADS)

# Installs the rock into a tree of its own and runs the Lua tests in lua5.4 (LUAJIT=1: luajit) with it.
rock:
	tests/rock.sh $(if $(LUAJIT),luajit,lua5.4)

# The comments of public functions and the guides as pages, build/docs/index.html, and as annotations for editors.
docs: build
	scripts/deps docs
	@mkdir -p $(BUILD)/docs/ldoc
	$(OUT)/luabatch scripts/stubs.lua $(BUILD)/docs
	ldoc -q -c docs/config.ld -d $(BUILD)/docs $(BUILD)/docs/ldoc
	sed -i -e 's/href="\([a-z_]*\)\.md\(["#]\)/href="\1.md.html\2/g' -e 's|<h\([234]\)>\([^<]*\)<|<h\1 id="\L\2\E">\2<|' \
		-e ':a; s|\(<h[234] id="[^",]*\),|\1|; ta' -e ':b; s|\(<h[234] id="[^" ]*\) |\1-|; tb' $(BUILD)/docs/topics/*.html
	echo 'th, td { border: 1px solid #cccccc; padding: 2px 6px; } #content { width: auto; max-width: 80em; overflow-x: auto; }' \
		>>$(BUILD)/docs/ldoc.css

# The program with its manual page and completions, the module for lua5.4 and the C header. DESTDIR is for packagers.
share  := $(DESTDIR)$(PREFIX)/share
luadir := $(share)/lua/$(LUA_ABI)/luabatch
libdir := $(DESTDIR)$(PREFIX)/lib/lua/$(LUA_ABI)/luabatch
$(OUT)/luabatch.1: scripts/man.lua lib/lua/luabatch/options.lua $(OUT)/luabatch
	$(OUT)/luabatch $< >$@
install: build module $(OUT)/luabatch.1
	install -D -m 755 $(OUT)/luabatch $(DESTDIR)$(PREFIX)/bin/luabatch
	install -D -m 644 -t $(luadir) lib/lua/luabatch/*.lua
	install -D -m 755 -t $(libdir) $(OUT)/lua/luabatch/core.so $(OUT)/lua/luabatch/terminal.so
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/include include/luabatch.h
	install -D -m 644 -t $(share)/man/man1 $(OUT)/luabatch.1
	mkdir -p $(OUT)/stubs/ldoc && $(OUT)/luabatch scripts/stubs.lua $(OUT)/stubs
	install -D -m 644 -t $(share)/luabatch/library $(OUT)/stubs/luabatch.lua
	install -d $(share)/bash-completion/completions $(share)/zsh/vendor-completions $(share)/fish/vendor_completions.d
	$(OUT)/luabatch completion bash >$(share)/bash-completion/completions/luabatch
	$(OUT)/luabatch completion zsh >$(share)/zsh/vendor-completions/_luabatch
	$(OUT)/luabatch completion fish >$(share)/fish/vendor_completions.d/luabatch.fish

# A Debian package of that, and a tarball of the sources.
deb: build module
	scripts/deb $(VERSION) $(BUILD)
dist:
	@mkdir -p $(BUILD)
	echo $(COMMIT) >$(BUILD)/.commit
	git archive --prefix=luabatch-$(VERSION)/ --add-file=$(BUILD)/.commit -o $(BUILD)/luabatch-$(VERSION).tar.gz HEAD

clean:
	rm -rf $(BUILD)

-include $(shell find $(sort $(CORE) $(OUT)) -name '*.d' 2>/dev/null)
