// Package metrics tells Prometheus how a mount is doing, in the same figures
// that its status has: they are read when Prometheus asks, so nothing is counted
// twice. It is the only user of the Prometheus library.
//
// Every name begins with mirrorfs_. Of the process there are the usual ones, as
// mirrorfs_process_*. No label holds a path or who reads it.
package metrics

import (
	"strings"
	"time"

	"github.com/mirrorfs/mirrorfs/internal/control"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// value is one figure of a status.
type value struct {
	name, help string
	kind       prometheus.ValueType
	of         func(control.Status) float64
}

const (
	gauge   = prometheus.GaugeValue
	counter = prometheus.CounterValue
)

var values = []value{
	{"start_time_seconds", "When it was mounted, in seconds since 1970.", gauge,
		func(s control.Status) float64 { return seconds(s.Since) }},
	{"passthrough", "1 if the kernel reads whole files itself.", gauge,
		func(s control.Status) float64 { return truth(s.Passthrough) }},
	{"offline", "1 if the network is never used.", gauge,
		func(s control.Status) float64 { return truth(s.Offline) }},

	{"sessions_max", "Sessions with the server that there may be (--connections).", gauge,
		func(s control.Status) float64 { return float64(s.Sessions.Bound) }},
	{"sessions_learned_max", "Sessions that the server was found to take.", gauge,
		func(s control.Status) float64 { return float64(s.Sessions.Cap) }},
	{"sessions_busy", "Sessions in use.", gauge,
		func(s control.Status) float64 { return float64(s.Sessions.Busy) }},
	{"sessions_idle", "Sessions that wait for work.", gauge,
		func(s control.Status) float64 { return float64(s.Sessions.Idle) }},
	{"requests_waiting", "Requests that wait for a session.", gauge,
		func(s control.Status) float64 { return float64(s.Sessions.Waiting) }},
	{"server_backing_off", "1 while the server is not asked, since it failed.", gauge,
		func(s control.Status) float64 { return truth(s.Sessions.BackOffUntil.After(time.Now())) }},
	{"logins_total", "Logins to the server.", counter,
		func(s control.Status) float64 { return float64(s.Sessions.Logins) }},
	{"server_failures_total", "Things that went wrong with the server.", counter,
		func(s control.Status) float64 { return float64(s.Sessions.Failures) }},
	{"transfers", "Transfers under way.", gauge,
		func(s control.Status) float64 { return float64(len(s.Transfers)) }},

	{"cache_bytes", "File content on disk.", gauge,
		func(s control.Status) float64 { return float64(s.Cache.Used) }},
	{"cache_max_bytes", "Most file content on disk (--cache-size), 0 for no bound.", gauge,
		func(s control.Status) float64 { return float64(s.Cache.Max) }},
	{"cache_files", "Files of which something is held.", gauge,
		func(s control.Status) float64 { return float64(s.Cache.Files) }},
	{"cache_hits_total", "Reads answered from what was held, other than by the kernel.", counter,
		func(s control.Status) float64 { return float64(s.Cache.Hits) }},
	{"cache_misses_total", "Reads that waited for the server.", counter,
		func(s control.Status) float64 { return float64(s.Cache.Misses) }},
	{"cache_evicted_bytes_total", "Content given up for room, or because it was asked for.", counter,
		func(s control.Status) float64 { return float64(s.Cache.Evicted) }},
	{"fetched_bytes_total", "Content taken from the server.", counter,
		func(s control.Status) float64 { return float64(s.Cache.Fetched) }},
	{"files_changed_total", "Files found replaced on the server.", counter,
		func(s control.Status) float64 { return float64(s.Cache.Changed) }},

	{"listings_memory", "Listings in memory.", gauge,
		func(s control.Status) float64 { return float64(s.Listings.Memory) }},
	{"listings_memory_bytes", "What they take.", gauge,
		func(s control.Status) float64 { return float64(s.Listings.MemoryBytes) }},
	{"listings_disk", "Listings on disk.", gauge,
		func(s control.Status) float64 { return float64(s.Listings.Disk) }},
	{"listings_hits_total", "Directories served from what was held.", counter,
		func(s control.Status) float64 { return float64(s.Listings.Hits) }},
	{"listings_misses_total", "Directories that had to be asked for.", counter,
		func(s control.Status) float64 { return float64(s.Listings.Misses) }},
	{"listings_sent_total", "Listings asked of the server, ahead or not.", counter,
		func(s control.Status) float64 { return float64(s.Listings.Sent) }},
	{"listings_unparsed_lines_total", "Lines of listings that could not be read.", counter,
		func(s control.Status) float64 { return float64(s.Listings.Unparsed) }},
}

const prefix = "mirrorfs_"

var info = prometheus.NewDesc(prefix+"info", "1; its labels tell what is mounted where.",
	[]string{"version", "url", "mount_point"}, nil)

// collector reads a status at each scrape.
type collector struct {
	status func() control.Status
	descs  []*prometheus.Desc // of values, in their order
}

func newCollector(status func() control.Status) *collector {
	c := &collector{status: status}
	for _, v := range values {
		c.descs = append(c.descs, prometheus.NewDesc(prefix+v.name, v.help, nil, nil))
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- info
	for _, d := range c.descs {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	s := c.status()
	to <- prometheus.MustNewConstMetric(info, gauge, 1,
		strings.ToValidUTF8(s.Program, "?"), strings.ToValidUTF8(s.URL, "?"), strings.ToValidUTF8(s.MountPoint, "?"))
	for i, v := range values {
		to <- prometheus.MustNewConstMetric(c.descs[i], v.kind, v.of(s))
	}
}

// registry has what is told of one mount.
func registry(status func() control.Status) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(newCollector(status),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{Namespace: "mirrorfs"}))
	return r
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func seconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }
