package main

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/mirrorfs/mirrorfs/internal/proxy"
)

// completeProxy finds the proxy that all connections go through: --proxy, else
// what ALL_PROXY and NO_PROXY say of the server.
func (p *plan) completeProxy(env environment) error {
	if p.proxy == "none" {
		return nil
	}
	from, raw := "--proxy", p.proxy
	if raw == "" {
		from = "ALL_PROXY"
		if raw = either(env, from); raw == "" || isLocal(p.url.Host) || excepted(either(env, "NO_PROXY"), p.url.Host) {
			return nil
		}
	}
	dial, err := proxy.New(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", from, err)
	}
	p.dial = dial
	return nil
}

// either looks a variable up in capitals, else in small letters, as programs
// that know of proxies do.
func either(env environment, name string) string {
	if v := env(name); v != "" {
		return v
	}
	return env(strings.ToLower(name))
}

func isLocal(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && a.IsLoopback()
}

// excepted reports whether NO_PROXY names the host: by "*", a name, a domain,
// an address or a network.
func excepted(list, host string) bool {
	addr, addrErr := netip.ParseAddr(host)
	for item := range strings.SplitSeq(list, ",") {
		item = strings.ToLower(strings.TrimSpace(item))
		if n, err := netip.ParsePrefix(item); err == nil && addrErr == nil && n.Contains(addr) {
			return true
		}
		domain := strings.TrimPrefix(strings.TrimPrefix(item, "*"), ".")
		if item == "*" || domain != "" && (host == domain || strings.HasSuffix(host, "."+domain)) {
			return true
		}
	}
	return false
}
