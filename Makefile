# mirrorfs: make demo shows it, make test proves it. Needs Go 1.26 and make.

PREFIX  ?= /usr/local
DESTDIR ?=
# mount(8) looks for helpers in /sbin only.
SBINDIR ?= /sbin
# Debian's zsh does not look where others do.
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
# What build makes and install takes: the program, its manual pages and completions.
BUILD   ?= bin

GO          ?= go
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS      = -s -w -X main.stamped=$(VERSION)
FUZZTIME    ?= 20s
ROUNDS      ?= 20

# Of the commit: what is built again from it is the same.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || date +%s)

MAN         = $(DESTDIR)$(PREFIX)/share/man
DOC         = $(DESTDIR)$(PREFIX)/share/doc/mirrorfs
UNITS       = $(DESTDIR)$(PREFIX)/lib/systemd
BASHCOMP    = $(DESTDIR)$(PREFIX)/share/bash-completion/completions
FISHCOMP    = $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d

.PHONY: build install uninstall dist demo deps check format vet lint vuln unit e2e test fuzz soak bench clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BUILD)/mirrorfs ./cmd/mirrorfs
	@rm -rf $(BUILD)/man $(BUILD)/completion && mkdir -p $(BUILD)/completion
	@$(BUILD)/mirrorfs man $(BUILD)/man
	@for s in bash zsh fish; do $(BUILD)/mirrorfs completion $$s >$(BUILD)/completion/$$s || exit; done

install:
	@test -x $(BUILD)/mirrorfs || { echo "run make build first (as yourself, not as root)" >&2; exit 1; }
	install -D -m 0755 $(BUILD)/mirrorfs $(DESTDIR)$(PREFIX)/bin/mirrorfs
	install -d $(DESTDIR)$(SBINDIR)
	ln -sf $(PREFIX)/bin/mirrorfs $(DESTDIR)$(SBINDIR)/mount.fuse.mirrorfs
	ln -sf $(PREFIX)/bin/mirrorfs $(DESTDIR)$(SBINDIR)/mount.mirrorfs
	install -d $(MAN)/man1 $(MAN)/man8 $(DOC)/examples
	install -m 0644 $(BUILD)/man/man1/* $(MAN)/man1
	install -m 0644 $(BUILD)/man/man8/* $(MAN)/man8
	install -D -m 0644 $(BUILD)/completion/bash $(BASHCOMP)/mirrorfs
	install -D -m 0644 $(BUILD)/completion/fish $(FISHCOMP)/mirrorfs.fish
	install -D -m 0644 $(BUILD)/completion/zsh $(DESTDIR)$(ZSHDIR)/_mirrorfs
	install -D -m 0644 packaging/systemd/system/mirrorfs@.service $(UNITS)/system/mirrorfs@.service
	install -D -m 0644 packaging/systemd/user/mirrorfs@.service $(UNITS)/user/mirrorfs@.service
	install -m 0644 packaging/systemd/examples/* $(DOC)/examples
	install -m 0644 README.md docs/SERVICES.md docs/COMMANDS.md docs/SEMANTICS.md $(DOC)

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/mirrorfs
	rm -f $(DESTDIR)$(SBINDIR)/mount.fuse.mirrorfs $(DESTDIR)$(SBINDIR)/mount.mirrorfs
	rm -f $(MAN)/man1/mirrorfs.1 $(MAN)/man1/mirrorfs-*.1 $(MAN)/man8/mount.fuse.mirrorfs.8 $(MAN)/man8/mount.mirrorfs.8
	rm -f $(BASHCOMP)/mirrorfs $(FISHCOMP)/mirrorfs.fish $(DESTDIR)$(ZSHDIR)/_mirrorfs
	rm -f $(UNITS)/system/mirrorfs@.service $(UNITS)/user/mirrorfs@.service
	rm -rf $(DOC)

# A .deb and a tarball for each of ARCHES, with their checksums.
ARCHES ?= amd64 arm64
DIST   ?= dist
dist: build
	VERSION='$(VERSION)' BUILD='$(BUILD)' DIST='$(DIST)' LDFLAGS='$(LDFLAGS)' GO='$(GO)' scripts/dist.sh $(ARCHES)

demo:
	@scripts/demo-deps.sh
	@$(MAKE) --no-print-directory build
	@bin/mirrorfs demo

# The fast part, for daily use. Its tests need root and what deps installs.
check: deps format vet lint unit

deps:
	@scripts/test-deps.sh

format:
	@bad=$$(gofmt -l $$(find . -name '*.go' -not -path './.*')); \
	test -z "$$bad" || { echo "gofmt would change: $$bad" >&2; exit 1; }

vet:
	$(GO) vet ./...

# staticcheck.conf says which checks; the layer rule is a test (internal/layers).
lint:
	$(GO) run $(STATICCHECK) ./...

# Known vulnerabilities; says so and passes where the database is out of reach.
vuln:
	@GO=$(GO) scripts/vuln.sh

unit:
	$(GO) test -race $$($(GO) list ./... | grep -v /test/)

# The acceptance tests: the built program, real servers, real clients.
# One package at a time: the packages' tests install programs and make namespaces.
# The recipes come last, alone: they add a user to this machine, and a new /etc/passwd
# takes away the one that internal/realftp has bound over it for its servers.
e2e: deps build
	$(GO) test -count=1 -p 1 -timeout 18m $$($(GO) list ./test/... | grep -v /recipes)
	$(GO) test -count=1 -timeout 18m ./test/recipes

test: check vuln e2e

# Every fuzz target for a while each.
fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

# The long part: the long tests of e2e, ROUNDS times.
soak: deps build
	MIRRORFS_E2E_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 0 $$($(GO) list ./test/... | grep -v /recipes)

# mirrorfs beside its peers, in one run, with the flags in BENCH (-help lists
# them); rclone takes part where it is installed.
bench: deps build
	@.deps/venv/bin/python -m pip install --quiet aioftp
	$(GO) run ./bench $(BENCH)

clean:
	rm -rf bin dist
