// Package faults holds the tests of what mirrorfs promises when servers, disks
// and the machine do not keep theirs. The layers below FUSE are joined as the
// command joins them, or the program itself is mounted where the kernel or the
// process matters, against a server that misbehaves on purpose
// (internal/ftptest), and every byte they give is compared with the truth.
//
// What is asserted is always the same: the exact bytes of one version of the
// file, or an error that says what happened; never an absent name that is
// there, never an empty folder because something failed, and an end in time.
//
// Random tests print their seed. The environment makes them longer, or repeats
// one of them:
//
//	MIRRORFS_FAULTS_SEED     the seed (default: a new one each time)
//	MIRRORFS_FAULTS_STEPS    steps of the model (default 2000)
//	MIRRORFS_FAULTS_SOAK     duration of the soak (default 20s)
//	MIRRORFS_FAULTS_KILLS    how often the program is killed (default 20)
package faults

import (
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of what is done here is waiting.
	if err := flag.Set("test.parallel", strconv.Itoa(max(8, runtime.GOMAXPROCS(0)))); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if built != "" {
			_ = os.RemoveAll(built)
		}
		os.Exit(code)
	}))
}

// seeded returns a source of chance whose seed is printed.
func seeded(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("MIRRORFS_FAULTS_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("MIRRORFS_FAULTS_SEED: %v", err)
		}
	}
	t.Logf("MIRRORFS_FAULTS_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// number is a number from the environment.
func number(t testing.TB, name string, otherwise int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number", name, s)
	}
	return n
}

// duration is a duration from the environment.
func duration(t testing.TB, name string, otherwise time.Duration) time.Duration {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return otherwise
	}
	d, err := time.ParseDuration(s)
	if err != nil || d <= 0 {
		t.Fatalf("%s=%q is not a duration", name, s)
	}
	return d
}
