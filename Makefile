# shunt: `make` builds build/shunt; `make check` tests it, `make demo` shows it, `make bench` measures it. V=1 shows the commands.
#
#   O=DIR      where everything generated goes (build)
#   SAN=1      with AddressSanitizer and UndefinedBehaviorSanitizer (build/san)
#   CLANG=...  compiler of the BPF programs (clang-14)
#   QUICK=1    bench: a short run
#   FUZZ_SECONDS=...  fuzz: of each target (60)

.DELETE_ON_ERROR:
.SECONDARY:
.DEFAULT_GOAL := all

# ---- configuration
comma := ,
SAN   ?=
O     ?= $(if $(SAN),build/san,build)
CC    ?= gcc
CLANG ?= clang-14
LLVM_STRIP ?= llvm-strip-14
LIBS  := libbpf libcurl libuv jansson yaml-0.1 libcap-ng libmnl libmicrohttpd gsl

# pkg-config is asked only when something is compiled: on a new machine it is not there until `make deps` ran.
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wvla -Wshadow -Wpointer-arith -Wwrite-strings -Wundef
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARNINGS) $(SANFLAGS) -D_GNU_SOURCE -DSHUNT_VERSION='"$(VERSION)"' -Iinclude -Iagent -I$(O) $(PKG_CFLAGS)
ALL_LIBS   = $(SANFLAGS) $(PKG_LIBS) -ljq -lonig -lm
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(LIBS)))$(PKG_CFLAGS)
PKG_LIBS   = $(eval PKG_LIBS := $(shell pkg-config --libs $(LIBS)))$(PKG_LIBS)
VERSION   := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

BPF_CFLAGS := -O2 -g -target bpf -mcpu=v3 -Wall -Wextra -Werror -Wshadow -Wno-unused-parameter -Wno-address-of-packed-member -Iinclude -Ibpf -I.

ifeq ($(V),)
Q := @
msg = @printf '  %-6s %s\n' $(1) $(2);
endif

# ---- what there is
AGENT_C := $(shell find agent -name '*.c' | sort)
MAIN_C  := agent/main.c $(wildcard agent/cmd_*.c)
LIB_O   := $(patsubst %.c,$(O)/%.o,$(filter-out $(MAIN_C),$(AGENT_C)))
MAIN_O  := $(patsubst %.c,$(O)/%.o,$(filter $(MAIN_C),$(AGENT_C)))
UNIT_C  := $(shell find tests/unit tests/bpf -name '*.c' | sort)
UNIT    := $(patsubst %.c,$(O)/%,$(UNIT_C))
TESTLIB_O := $(patsubst %.c,$(O)/%.o,$(filter-out %.bpf.c,$(wildcard tests/lib/*.c)))
TEST_BPF  := $(patsubst %.bpf.c,$(O)/%.bpf.o,$(wildcard tests/lib/*.bpf.c))
FUZZ      := $(patsubst %.c,$(O)/%,$(wildcard tests/fuzz/*.c))
FUZZ_O    := $(patsubst %.c,$(O)/fuzz/%.o,tests/lib/http_reader.c $(wildcard agent/world/*.c agent/util/*.c))

.PHONY: all deps check test-unit test-net fuzz demo bench clean clang-19
all: $(O)/shunt

# ---- packages
deps:
	$(Q).ci/deps

# ---- BPF
$(O)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(O)/tests/lib/%.bpf.o: tests/lib/%.bpf.c
	$(call msg,BPF,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
	$(Q)$(LLVM_STRIP) -g $@

$(O)/%.skel.h: $(O)/bpf/%.bpf.o
	$(call msg,SKEL,$@)
	$(Q)bpftool gen skeleton $< name $(notdir $*)_bpf >$@

# The programs with the second compiler; tests load both.
clang-19: $(O)/clang-19/shunt.bpf.o
$(O)/clang-19/%.bpf.o: bpf/%.bpf.c
	$(call msg,BPF,$@)
	@mkdir -p $(@D)
	$(Q)clang-19 $(BPF_CFLAGS) -MMD -MP -MF $(@:.o=.d) -MT $@ -c $< -o $@
	$(Q)llvm-strip-14 -g $@

# Only when it is asked for by name: every BPF object depends on the file, and a build must not depend on the kernel it runs under.
ifneq ($(filter vmlinux.h,$(MAKECMDGOALS)),)
.PHONY: vmlinux.h
vmlinux.h:
	$(Q)bpftool btf dump file /sys/kernel/btf/vmlinux format c | python3 bpf/trim_vmlinux.py >$@.new && mv $@.new $@
endif

# ---- agent
$(O)/agent/datapath/object.o: $(O)/shunt.skel.h

$(O)/%.o: %.c
	$(call msg,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@

$(O)/libshunt.a: $(LIB_O)
	$(call msg,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/shunt: $(MAIN_O) $(O)/libshunt.a
	$(call msg,LD,$@)
	$(Q)$(CC) $^ -o $@ $(ALL_LIBS)

# ---- tests: a unit test links everything but main; its path is that of what it tests
$(UNIT): $(O)/%: $(O)/%.o $(TESTLIB_O) $(O)/libshunt.a
	$(call msg,LD,$@)
	$(Q)$(CC) $< $(TESTLIB_O) $(O)/libshunt.a -o $@ $(ALL_LIBS) -lcmocka

# Fuzz targets are libFuzzer's: what they look into is compiled anew, with coverage and sanitizers. clang would report NULL + 0, which C2y defines.
FUZZ_FLAGS := -fsanitize=address,undefined -fno-sanitize=pointer-overflow -fno-sanitize-recover=undefined -O1 -g
$(O)/fuzz/%.o: %.c
	$(call msg,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) $(ALL_CFLAGS) -fsanitize=fuzzer-no-link $(FUZZ_FLAGS) -MMD -MP -c $< -o $@

$(FUZZ): $(O)/%: $(O)/fuzz/%.o $(FUZZ_O)
	$(call msg,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CLANG) -fsanitize=fuzzer $(FUZZ_FLAGS) $^ -o $@ $(ALL_LIBS)

tests-built: $(UNIT) $(TEST_BPF) $(FUZZ) $(O)/shunt clang-19

check: deps
	$(Q)$(MAKE) --no-print-directory tests-built
	$(Q)tests/run $(O)

test-unit: deps
	$(Q)$(MAKE) --no-print-directory $(UNIT)
	$(Q)tests/run $(O) unit

test-net: deps
	$(Q)$(MAKE) --no-print-directory tests-built
	$(Q)tests/run $(O) net

fuzz: deps
	$(Q)$(MAKE) --no-print-directory $(FUZZ)
	$(Q)tests/run $(O) fuzz

demo: deps
	$(Q)$(MAKE) --no-print-directory $(O)/shunt
	$(Q)deploy/samples/session-affinity/demo $(O)/shunt

bench: deps
	$(Q)$(MAKE) --no-print-directory $(O)/shunt $(TEST_BPF)
	$(Q)QUICK=$(QUICK) tests/bench/bench $(O)

clean:
	rm -rf $(O)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
