package main

import (
	"strings"
	"testing"

	"github.com/mirrorfs/mirrorfs/internal/ftpurl"
)

func TestProxyChoice(t *testing.T) {
	for _, c := range []struct {
		name, host, flag string
		env              map[string]string
		used             bool
		why              string // of a refusal
	}{
		{"none asked for", "ftp.example.org", "", nil, false, ""},
		{"by flag", "ftp.example.org", "socks5h://p:1080", nil, true, ""},
		{"flag, also for this machine", "127.0.0.1", "http://p:3128", nil, true, ""},
		{"by ALL_PROXY", "ftp.example.org", "", map[string]string{"ALL_PROXY": "socks5h://p"}, true, ""},
		{"by all_proxy", "ftp.example.org", "", map[string]string{"all_proxy": "http://p"}, true, ""},
		{"flag none", "ftp.example.org", "none", map[string]string{"ALL_PROXY": "socks5h://p"}, false, ""},
		{"this machine", "127.0.0.1", "", map[string]string{"ALL_PROXY": "socks5h://p"}, false, ""},
		{"this machine's name", "localhost", "", map[string]string{"ALL_PROXY": "socks5h://p"}, false, ""},
		{"excepted domain", "ftp.example.org", "", map[string]string{"ALL_PROXY": "socks5h://p", "NO_PROXY": "a.b, .Example.org"}, false, ""},
		{"excepted name", "example.org", "", map[string]string{"ALL_PROXY": "socks5h://p", "no_proxy": "example.org"}, false, ""},
		{"excepted network", "10.1.2.3", "", map[string]string{"ALL_PROXY": "socks5h://p", "NO_PROXY": "10.0.0.0/8"}, false, ""},
		{"excepted all", "ftp.example.org", "", map[string]string{"ALL_PROXY": "socks5h://p", "NO_PROXY": "*"}, false, ""},
		{"not quite excepted", "ftp.badexample.org", "", map[string]string{"ALL_PROXY": "socks5h://p", "NO_PROXY": "example.org"}, true, ""},
		{"unknown kind", "ftp.example.org", "gopher://me:secret@p", nil, false, "--proxy"},
		{"unreadable", "ftp.example.org", "", map[string]string{"ALL_PROXY": "://me:secret@p"}, false, "ALL_PROXY"},
	} {
		p := &plan{settings: settings{proxy: c.flag}, url: ftpurl.URL{Host: c.host}}
		err := p.completeProxy(func(name string) string { return c.env[name] })
		if (err != nil) != (c.why != "") || (p.dial != nil) != c.used {
			t.Errorf("%s: proxy %v, %v", c.name, p.dial != nil, err)
		}
		if err != nil && (!strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
