# onceq: a durable job queue inside PostgreSQL.
#
#   make, make install   build and install by PGXS; PG_CONFIG=… chooses the PostgreSQL
#   make installcheck    test the installed extension in a running server that preloads it
#   make demo            see it work in a throw-away server; nothing is installed
#   make check           every test but those that take hours; check-rules, check-unit, check-sql … for one kind
#   make check-versions  the same on PostgreSQL 17, 18 and 19, in chroots; check-cassert: on a server that checks itself
#   make check-long      what takes hours: long history runs, and deliberate bugs (check-mutants)
#   make check-mutants-chaos   which of those bugs the history run notices, too
#   make check-fuzz, check-valgrind, check-asan, check-sqlsmith, coverage   tools that take longer: test/README.md
#   make bench           how fast it is, beside other queues; make format: clang-format
#
# WERROR=1 makes warnings errors. TESTING=1 adds pause points, fault points and assertions. WATCH=sanitizers or
# coverage: for scripts/watched.sh.

goals = demo bench format coverage check check-%
top := $(dir $(firstword $(MAKEFILE_LIST)))
ifneq ($(filter $(goals),$(MAKECMDGOALS)),)

# ---- Goals of the project: scripts, which call make again for what they need ----

.PHONY: $(MAKECMDGOALS)
.NOTPARALLEL:
demo:;   @$(top)scripts/demo.sh
bench:;  @$(top)bench/run.sh
format:; clang-format-14 -i $(shell find $(top)src $(top)test $(top)bench -name '*.[ch]pp')
check:;  @$(top)scripts/check.sh
check-versions:; @$(top)scripts/versions.sh
check-cassert:;  @$(top)scripts/cassert.sh
check-fuzz:;     @FUZZ=$${FUZZ:-60} $(top)scripts/check.sh fuzz
check-valgrind:; @$(top)scripts/watched.sh valgrind
check-asan:;     @$(top)scripts/watched.sh sanitizers
check-sqlsmith:; @$(top)scripts/install_dependencies.sh sqlsmith && $(top)scripts/check.sh sqlsmith
coverage:;       @$(top)scripts/watched.sh coverage
scripted = check-versions check-cassert check-fuzz check-valgrind check-asan check-sqlsmith
$(filter-out $(scripted),$(filter check-%,$(MAKECMDGOALS))): check-%:; @$(top)scripts/check.sh $*
$(filter-out $(goals),$(MAKECMDGOALS)):;     +@$(MAKE) $@

else

# ---- What is built and installed ----

EXTENSION = onceq
MODULE_big = onceq
version := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(top)onceq.control)
SRCS := $(patsubst $(top)%,%,$(sort $(wildcard $(top)src/*.cpp $(top)src/*/*.cpp)))
OBJS = $(SRCS:.cpp=.o)
install_parts := $(addprefix $(top)sql/install/,$(shell cat $(top)sql/install/ORDER))
DATA = $(patsubst $(top)%,%,$(sort $(wildcard $(top)sql/upgrade/*.sql)))
DATA_built = onceq--$(version).sql
EXTRA_CLEAN = build $(OBJS:.o=.d)

# ---- Tests against a running server. Specs with pause points need a testing build: make check ----

REGRESS = $(notdir $(basename $(sort $(wildcard $(top)sql/*.sql))))
REGRESS_OPTS = --load-extension=onceq
ISOLATION = $(notdir $(basename $(sort $(shell grep -sL 'needs a testing build' $(top)test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(top)test/isolation --load-extension=onceq

# ---- Compiler and linker. -isystem: the server's headers are not ours to warn about ----

PG_CONFIG ?= pg_config
PG_CPPFLAGS = -I$(top)src -isystem $(shell $(PG_CONFIG) --includedir-server)
PG_CXXFLAGS = -std=c++20 -fvisibility=hidden -fvisibility-inlines-hidden -MMD -MP \
              -Wall -Wextra -Wshadow -Wno-missing-field-initializers $(if $(WERROR),-Werror)
ifneq ($(findstring clang,$(CXX)),)
PG_CXXFLAGS += -Wno-unknown-warning-option -Wglobal-constructors -Wexit-time-destructors
endif
ifdef TESTING
$(if $(filter ./,$(top)),$(error it has a folder of its own: make -C build/testing -f ../../Makefile TESTING=1))
PG_CPPFLAGS += -DONCEQ_TESTING -DUSE_ASSERT_CHECKING
endif
SHLIB_LINK = -lstdc++
override with_llvm = no
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# ---- What watches the tests. After the server's own -O2 ----

watch_sanitizers = -O1 -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -U_FORTIFY_SOURCE
watch_coverage = -O0 --coverage -fprofile-update=atomic -U_FORTIFY_SOURCE
override CXXFLAGS += $(watch_$(WATCH))
override LDFLAGS += $(watch_$(WATCH))

# ---- Rules. A build in another folder looks here for sources only, never for objects ----

VPATH =
vpath %.cpp $(top)
vpath %.control $(top)
$(OBJS): | $(sort $(dir $(OBJS)))
$(sort $(dir $(OBJS))):; mkdir -p $@
versioned = src/module.o src/base/version.o
$(versioned): override CPPFLAGS += -DONCEQ_VERSION='"$(version)"'
$(versioned) $(DATA_built): onceq.control
$(DATA_built): $(install_parts) $(top)sql/install/ORDER
	cat $(install_parts) > $@
-include $(OBJS:.o=.d)
endif
