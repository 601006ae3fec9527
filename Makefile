# mirrorfs: make demo shows it, make test proves it. Needs Go 1.26 and make.

PREFIX  ?= /usr/local
DESTDIR ?=
# mount(8) looks for helpers in /sbin only.
SBINDIR ?= /sbin

GO          ?= go
STATICCHECK  = honnef.co/go/tools/cmd/staticcheck@v0.8.2
VERSION     := $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
LDFLAGS      = -s -w -X main.stamped=$(VERSION)
FUZZTIME    ?= 20s
ROUNDS      ?= 20

.PHONY: build install uninstall demo deps check format vet lint unit e2e test fuzz soak bench clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/mirrorfs ./cmd/mirrorfs

install:
	@test -x bin/mirrorfs || { echo "run make build first (as yourself, not as root)" >&2; exit 1; }
	install -D -m 0755 bin/mirrorfs $(DESTDIR)$(PREFIX)/bin/mirrorfs
	install -d $(DESTDIR)$(SBINDIR)
	ln -sf $(PREFIX)/bin/mirrorfs $(DESTDIR)$(SBINDIR)/mount.fuse.mirrorfs
	ln -sf $(PREFIX)/bin/mirrorfs $(DESTDIR)$(SBINDIR)/mount.mirrorfs

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/mirrorfs
	rm -f $(DESTDIR)$(SBINDIR)/mount.fuse.mirrorfs $(DESTDIR)$(SBINDIR)/mount.mirrorfs

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

unit:
	$(GO) test -race $$($(GO) list ./... | grep -v /test/)

# The acceptance tests: the built program, real servers, real clients.
e2e: deps build
	$(GO) test -count=1 -timeout 18m ./test/...

test: check e2e

# Every fuzz target for a while each.
fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

# The long part: the long tests of e2e, ROUNDS times.
soak: deps build
	MIRRORFS_E2E_ROUNDS=$(ROUNDS) $(GO) test -count=1 -timeout 0 ./test/...

# mirrorfs beside its peers, in one run; rclone takes part where it is installed.
bench: deps build
	@.deps/venv/bin/python -m pip install --quiet aioftp
	$(GO) run ./bench

clean:
	rm -rf bin dist
