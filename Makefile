# make run      a working server on loopback ports, in ./run, from a bare Debian 12 with Rust
# make test     everything that can be checked here: unit tests and the tests beside Debian's own Cyrus
#
# make build    release programs            make install PREFIX=/usr/local DESTDIR=
# make check    format, lints, doc          make bench    microbenchmarks, and the paired run beside other servers
# make fuzz     each fuzz target for FUZZ_SECONDS

CARGO        ?= cargo
PREFIX       ?= /usr/local
DESTDIR      ?=
FUZZ_SECONDS ?= 60
RUN_DIR      ?= $(CURDIR)/run
TARGET       := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)

# Every program of servers/src/bin, where a build of Cyrus puts it: what users start in bin/, what master starts in
# libexec/, what administrators start in sbin/.
PROGRAMS := $(sort $(basename $(notdir $(wildcard servers/src/bin/*.rs))) \
              $(notdir $(patsubst %/main.rs,%,$(wildcard servers/src/bin/*/main.rs))))
USER_PROGRAMS := imtest pop3test nntptest lmtptest smtptest sivtest synctest httptest mupdatetest cyradm sieveshell \
                 installsieve
DAEMONS  := master imapd pop3d lmtpd nntpd timsieved mupdate notifyd idled httpd proxyd ptloader smmapd fud sync_server \
            promstatsd calalarmd backupd
BIN      := $(filter $(USER_PROGRAMS),$(PROGRAMS))
LIBEXEC  := $(filter $(DAEMONS),$(PROGRAMS))
SBIN     := $(filter-out $(USER_PROGRAMS) $(DAEMONS),$(PROGRAMS))

.PHONY: all build run test check bench fuzz install uninstall deps
all: build

deps:
	@.ci/install-deps.sh build

build: deps
	$(CARGO) build --release --locked --package cyrus-servers

run:
	@.ci/install-deps.sh run
	$(CARGO) build --release --locked --package cyrus-servers
	$(TARGET)/release/cyrusd --demo $(RUN_DIR)

test:
	@.ci/install-deps.sh test
	@.ci/fetch-corpus.sh
	$(CARGO) test --workspace --locked --no-fail-fast
	$(CARGO) test --manifest-path fuzz/Cargo.toml --target-dir $(TARGET) --lib --locked

check: deps
	$(CARGO) fmt --all --check
	$(CARGO) fmt --manifest-path fuzz/Cargo.toml --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps --locked

bench: build
	$(CARGO) bench --workspace --locked

fuzz: deps
	fuzz/run-all.sh $(FUZZ_SECONDS)

install: build
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin sbin libexec)
	$(if $(BIN),install -m 755 $(addprefix $(TARGET)/release/,$(BIN)) $(DESTDIR)$(PREFIX)/bin/)
	$(if $(SBIN),install -m 755 $(addprefix $(TARGET)/release/,$(SBIN)) $(DESTDIR)$(PREFIX)/sbin/)
	$(if $(LIBEXEC),install -m 755 $(addprefix $(TARGET)/release/,$(LIBEXEC)) $(DESTDIR)$(PREFIX)/libexec/)

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/bin/,$(BIN)) $(addprefix $(DESTDIR)$(PREFIX)/sbin/,$(SBIN)) \
	    $(addprefix $(DESTDIR)$(PREFIX)/libexec/,$(LIBEXEC))
