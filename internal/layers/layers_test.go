// Package layers holds the module to its one direction of imports:
// cmd → fs → cache → ftppool.
package layers

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/mirrorfs/mirrorfs/"

// allowed says which packages of the module a layer may import, by the first
// part of their path; its own are always allowed.
var allowed = map[string][]string{
	"ftppool":            {},
	"cache":              {"ftppool"},
	"fs":                 {"ftppool"},
	"internal/control":   {},
	"internal/doctor":    {"ftppool"},
	"internal/metrics":   {"internal/control"},
	"internal/ftpurl":    {},
	"internal/netrc":     {},
	"internal/ftptest":   {},
	"internal/realftp":   {},
	"internal/mountinfo": {},
	"internal/netpath":   {},
}

// only says who may import what others must not know.
var only = map[string]string{
	"github.com/hanwen/go-fuse/":      "fs",
	"github.com/dgraph-io/ristretto/": "cache",
	"github.com/jlaffaye/ftp":         "ftppool",
	"github.com/spf13/cobra":          "cmd",
	"github.com/prometheus/":          "internal/metrics",
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func TestImportsFlowOneWay(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for packages := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := packages.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		path := strings.TrimPrefix(p.ImportPath, module)
		for layer, may := range allowed {
			if !within(path, layer) {
				continue
			}
			seen[layer] = true
			for _, i := range p.Imports {
				if inner, ok := strings.CutPrefix(i, module); ok && !within(inner, layer) && !anyWithin(inner, may) {
					t.Errorf("%s imports %s; %s may only import %q", path, inner, layer, may)
				}
			}
		}
		for what, who := range only {
			for _, i := range p.Imports {
				if strings.HasPrefix(i, what) && !within(path, who) {
					t.Errorf("%s imports %s, which is for %s alone", path, i, who)
				}
			}
		}
	}
	for layer := range allowed {
		if !seen[layer] {
			t.Errorf("there is no package %s: the rule about it holds nothing", layer)
		}
	}
}

func within(path, layer string) bool { return path == layer || strings.HasPrefix(path, layer+"/") }

func anyWithin(path string, layers []string) bool {
	for _, l := range layers {
		if within(path, l) {
			return true
		}
	}
	return false
}
