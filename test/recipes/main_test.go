// Package recipes runs what the README and docs/RECIPES.md tell people to type,
// letter for letter, and the examples that they name.
//
// The tests live in a world of their own (world_test.go): namespaces in which
// ftp.datasus.gov.br and the other hosts that the texts name are servers of the
// tests', the machine's folders can be changed without changing the machine, and
// maria is somebody who has just cloned the project. What is typed is taken from
// the Markdown (markdown_test.go).
package recipes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

// worldEnv names the folder of the world that a test binary is in.
const worldEnv = "MIRRORFS_RECIPES_WORLD"

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "recipes:", err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if dir := os.Getenv(worldEnv); dir != "" {
		if err := enterWorld(dir); err != nil {
			return 1, err
		}
		code := m.Run()
		if left := leaveWorld(); left != "" {
			return 1, errors.New("left running: " + left)
		}
		return code, nil
	}
	if os.Geteuid() != 0 {
		return 1, errors.New("these tests need root, for namespaces")
	}
	dir, err := os.MkdirTemp("", "mirrorfs-recipes-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(dir) // the world's mounts ended with it
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), worldEnv+"="+dir)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS}
	err = cmd.Run()
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return exit.ExitCode(), nil
	}
	return 0, err
}
